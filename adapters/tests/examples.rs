//! The example runs to its end. It checks by itself what it shows.

#[path = "../examples/event_handler.rs"]
mod event_handler;

#[test]
fn a_handler_on_the_bus() -> Result<(), Box<dyn std::error::Error>> {
    event_handler::main()
}
