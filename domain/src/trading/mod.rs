//! Trading: instruments, prices, and the rules by which a position gains and loses.

mod position;
mod price;
mod symbol;

pub use position::{CloseReason, Closed, Order, OrderFault, Position, PositionId, Side, Triggers};
pub use price::{DecimalError, Price, Quantity, Quote};
pub use symbol::{Symbol, SymbolError};
