#!/bin/sh
# Run by the image of PostgreSQL while it makes the database: the log's roles, and who may log in with which of them.
# `stackledger log create` makes tables and functions later, and finds the roles here.
set -eu
export SECRETS_FOLDER="${SECRETS_FOLDER:-/run/secrets}"
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" << 'SQL'
-- Roles belong to all databases of a server.
SELECT format('CREATE ROLE %I NOLOGIN', name)
    FROM unnest(ARRAY['stackledger_owner', 'stackledger_writer', 'stackledger_reader']) AS name
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
-- A password is no argument of a process that others could see.
\set coordinator `cat "$SECRETS_FOLDER/database-coordinator"`
\set submitter `cat "$SECRETS_FOLDER/database-submitter"`
\set observer `cat "$SECRETS_FOLDER/database-observer"`
CREATE ROLE coordinator LOGIN PASSWORD :'coordinator' IN ROLE stackledger_writer;
CREATE ROLE submitter LOGIN PASSWORD :'submitter' IN ROLE stackledger_writer;
CREATE ROLE observer LOGIN PASSWORD :'observer' IN ROLE stackledger_reader;
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database()) \gexec
SELECT format('GRANT CONNECT ON DATABASE %I TO stackledger_writer, stackledger_reader', current_database()) \gexec
SQL
