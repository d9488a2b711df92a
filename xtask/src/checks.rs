//! Checks of texts and dependencies: spelling, links, licences.

use std::process::Command;

use crate::{Result, run, tools};

/// Checks the spelling.
pub fn spelling() -> Result {
    match tools::typos()? {
        Some(typos) => run(Command::new(typos).args(["--config", "typos.toml"])),
        None => {
            println!("\n▸ typos: skipped, this machine has no python3 with venv");
            Ok(())
        }
    }
}

/// Checks links to files and headings in Markdown.
pub fn links() -> Result {
    let files = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs",
        "www/README.md",
    ];
    run(tools::node()
        .arg("www/node_modules/remark-cli/cli.js")
        .args(["--no-config", "--no-stdout", "--quiet", "--frail"])
        .args([
            "--use",
            "./www/node_modules/remark-validate-links/index.js=repository:false",
        ])
        .args(files))
}

/// Checks licences and sources of dependencies. Advisories need a database from the network: run
/// `cargo deny check` for those.
pub fn licences() -> Result {
    tools::ensure_deny()?;
    run(Command::new("cargo-deny")
        .env("PATH", tools::path())
        .args(["check", "licenses", "bans", "sources"]))
}
