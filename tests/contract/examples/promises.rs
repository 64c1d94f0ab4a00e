//! Prints the promises of all suites, as a table in Markdown.

#![allow(clippy::print_stdout, reason = "it prints a table")]

fn main() {
    println!("| promise | what must hold |\n| --- | --- |");
    for clause in doorstep_contract::all_clauses() {
        println!("| {} | {} |", clause.name, clause.promise);
    }
}
