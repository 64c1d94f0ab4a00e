use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::connections::CloseReason;

/// The close frame for a reason, if the client can still be told.
pub(super) fn close_frame(reason: CloseReason) -> Option<CloseFrame> {
    let code = CloseCode::from(reason.code()?);
    Some(CloseFrame { code, reason: reason.text().into() })
}

/// What a failed read says about the client.
pub(super) fn of_error(error: &Error) -> CloseReason {
    match error {
        Error::Utf8(_) => CloseReason::Malformed,
        Error::Capacity(CapacityError::MessageTooLong { .. }) => CloseReason::TooLarge,
        // A socket that ends without a goodbye is reported like this; it is not the client's fault.
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => CloseReason::Gone,
        Error::Protocol(_) => CloseReason::Protocol,
        _ => CloseReason::Gone,
    }
}
