//! Runs the suites on adapters that are wrong in one way each, and prints what they say.

#![allow(clippy::print_stdout, reason = "it prints a table")]

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() {
    // What the suites say is printed below.
    std::panic::set_hook(Box::new(|_| {}));
    let (mut all, mut missed) = (0, 0);
    for wrong in doorstep_contract::wrong::adapters() {
        all += 1;
        let said = wrong.caught().await.unwrap_or_else(|| "NOT NOTICED".to_owned());
        if !said.starts_with(&format!("[{}]", wrong.breaks)) {
            missed += 1;
        }
        println!("{}\n  {said}\n", wrong.does);
    }
    println!("{all} wrong adapters, {missed} not caught by the promise that they break");
    if missed > 0 {
        std::process::exit(1);
    }
}
