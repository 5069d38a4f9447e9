"""What goes wrong with a broker, in our words: every exception of pika is one of these."""

from __future__ import annotations

from pika import exceptions
from pika.adapters.utils import connection_workflow as workflow

from stackledger.domain.errors import BrokerError, BrokerRefused, BrokerUnreachable, TopologyMismatch, raised, sentence

_ACCESS_REFUSED, _NOT_FOUND, _RESOURCE_LOCKED, _PRECONDITION_FAILED, _NOT_ALLOWED = 403, 404, 405, 406, 530

_BY_CODE: dict[int, type[BrokerError]] = {
    _ACCESS_REFUSED: BrokerRefused,
    _NOT_FOUND: TopologyMismatch,
    _RESOURCE_LOCKED: TopologyMismatch,
    _PRECONDITION_FAILED: TopologyMismatch,
    _NOT_ALLOWED: BrokerRefused,
}

KINDS: dict[type[BaseException], type[BrokerError]] = {
    # Whether it lets us in.
    exceptions.AuthenticationError: BrokerRefused,
    exceptions.ProbableAuthenticationError: BrokerRefused,
    exceptions.ProbableAccessDeniedError: BrokerRefused,
    # The connection.
    exceptions.AMQPConnectionError: BrokerUnreachable,
    exceptions.ConnectionOpenAborted: BrokerUnreachable,
    exceptions.StreamLostError: BrokerUnreachable,
    exceptions.IncompatibleProtocolError: BrokerUnreachable,
    exceptions.ConnectionWrongStateError: BrokerUnreachable,
    exceptions.ConnectionClosed: BrokerUnreachable,
    exceptions.ConnectionClosedByBroker: BrokerUnreachable,
    exceptions.ConnectionClosedByClient: BrokerUnreachable,
    exceptions.ConnectionBlockedTimeout: BrokerUnreachable,
    exceptions.AMQPHeartbeatTimeout: BrokerUnreachable,
    workflow.AMQPConnectorException: BrokerUnreachable,
    workflow.AMQPConnectorStackTimeout: BrokerUnreachable,
    workflow.AMQPConnectorAborted: BrokerUnreachable,
    workflow.AMQPConnectorWrongState: BrokerUnreachable,
    workflow.AMQPConnectorPhaseErrorBase: BrokerUnreachable,
    workflow.AMQPConnectorSocketConnectError: BrokerUnreachable,
    workflow.AMQPConnectorTransportSetupError: BrokerUnreachable,
    workflow.AMQPConnectorAMQPHandshakeError: BrokerUnreachable,
    workflow.AMQPConnectionWorkflowAborted: BrokerUnreachable,
    workflow.AMQPConnectionWorkflowWrongState: BrokerUnreachable,
    workflow.AMQPConnectionWorkflowFailed: BrokerUnreachable,
    # Channels, and what is on them.
    exceptions.NoFreeChannels: BrokerRefused,
    exceptions.AMQPChannelError: BrokerError,
    exceptions.ChannelWrongStateError: BrokerError,
    exceptions.ChannelClosed: BrokerError,
    exceptions.ChannelClosedByBroker: BrokerError,
    exceptions.ChannelClosedByClient: BrokerError,
    exceptions.DuplicateConsumerTag: BrokerError,
    exceptions.ConsumerCancelled: TopologyMismatch,
    exceptions.UnroutableError: TopologyMismatch,
    exceptions.NackError: BrokerError,
    exceptions.ChannelError: BrokerError,
    exceptions.DuplicateGetOkCallback: BrokerError,
    # The protocol.
    exceptions.AMQPError: BrokerError,
    exceptions.InvalidChannelNumber: BrokerError,
    exceptions.ProtocolSyntaxError: BrokerError,
    exceptions.UnexpectedFrameError: BrokerError,
    exceptions.ProtocolVersionMismatch: BrokerError,
    exceptions.BodyTooLongError: BrokerError,
    exceptions.InvalidFrameError: BrokerError,
    exceptions.InvalidFieldTypeException: BrokerError,
    exceptions.UnsupportedAMQPFieldException: BrokerError,
    exceptions.MethodNotImplemented: BrokerError,
    exceptions.ReentrancyError: BrokerError,
    exceptions.ShortStringTooLong: BrokerError,
    OSError: BrokerUnreachable,
}
"""Our error for each of pika's; one that a code of the broker comes with may be said more exactly."""

FROM_PIKA = tuple(KINDS)

_HINTS: dict[type[BrokerError], str] = {
    BrokerUnreachable: "Check that RabbitMQ runs there, and that the URL, its port and TLS are right.",
    BrokerRefused: "Check the user, the password, the virtual host and the user's permissions in it.",
    TopologyMismatch: "A coordinator declares what is missing; what was declared otherwise has to be deleted first.",
    BrokerError: "The connection is made anew; RabbitMQ's log says more.",
}


def broker_error(error: BaseException, place: str) -> BrokerError:
    """Return one of our errors for one of pika's, about the broker at a place. Its cause is the original."""
    found = _innermost(error)
    kind = _kind(found)
    words = sentence(raised(type(found).__name__, str(found) or repr(found)))
    ours = kind(f"The broker at {place} {_WHAT[kind]}. {words}", hint=_HINTS[kind])
    ours.__cause__ = error
    return ours


_WHAT: dict[type[BrokerError], str] = {
    BrokerUnreachable: "cannot be reached, or the connection to it was lost",
    BrokerRefused: "does not let us in, or forbids what we ask",
    TopologyMismatch: "has not the queues that it should have",
    BrokerError: "did not do what it was asked",
}


def _kind(error: BaseException) -> type[BrokerError]:
    code = getattr(error, "reply_code", None)
    if isinstance(code, int) and code in _BY_CODE:
        return _BY_CODE[code]
    return next((KINDS[each] for each in type(error).__mro__ if each in KINDS), BrokerError)


def _innermost(error: BaseException) -> BaseException:
    """Return what is at the bottom of a failed connection: pika wraps it up to three times."""
    match error:
        case workflow.AMQPConnectionWorkflowFailed(exceptions=[*_, last]):
            return _innermost(last)
        case workflow.AMQPConnectorPhaseErrorBase(exception=BaseException() as inner):
            return _innermost(inner)
        case exceptions.AMQPConnectionError(args=[BaseException() as inner, *_]):
            return _innermost(inner)
        case _:
            return error
