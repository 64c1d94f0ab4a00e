use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::connections::DisconnectReason;

/// The close frame for a reason; `None` if the client cannot be told any more.
pub(super) fn close_frame(reason: DisconnectReason) -> Option<CloseFrame> {
    let code = CloseCode::from(reason.code()?);
    Some(CloseFrame { code, reason: reason.text().into() })
}

/// Why a connection ends whose read failed with this error.
pub(super) fn of_error(error: &Error) -> DisconnectReason {
    match error {
        Error::Utf8(_) => DisconnectReason::Malformed,
        Error::Capacity(CapacityError::MessageTooLong { .. }) => DisconnectReason::TooLarge,
        // A socket that ends without a close frame is reported like this; it is not a protocol error of the
        // client.
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => DisconnectReason::Gone,
        Error::Protocol(_) => DisconnectReason::Protocol,
        _ => DisconnectReason::Gone,
    }
}
