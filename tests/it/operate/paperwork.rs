//! Completions and man pages.

use std::process::Stdio;

use doorstep_tests::server::Doorstep;
use tokio::process::Command;

#[tokio::test]
async fn every_shell_has_completions_of_every_command() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let printed = Doorstep::new(&["completions", shell]).run().await;
        assert_eq!(printed.code, Some(0), "{shell}: {}", printed.stderr);
        for command in ["healthcheck", "simulate", "outbox", "config"] {
            assert!(printed.stdout.contains(command), "{shell}: {command}");
        }
    }
    assert_eq!(Doorstep::new(&["completions", "tcsh"]).run().await.code, Some(2));
}

#[tokio::test]
async fn bash_completes_a_flag() {
    let printed = Doorstep::new(&["completions", "bash"]).run().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("doorstep.bash"), printed.stdout).unwrap();
    let line = "source ./doorstep.bash; COMP_WORDS=(doorstep config --sch); COMP_CWORD=2; \
                _doorstep doorstep --sch config; echo \"${COMPREPLY[@]}\"";
    let shell = Command::new("bash")
        .args(["-c", line])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&shell.stdout).trim(), "--schema");
}

#[tokio::test]
async fn every_command_has_a_man_page() {
    let folder = tempfile::tempdir().unwrap();
    let written = Doorstep::new(&["man", folder.path().to_str().unwrap()]).run().await;
    assert_eq!(written.code, Some(0), "{}", written.stderr);
    for page in
        ["doorstep.1", "doorstep-serve.1", "doorstep-healthcheck.1", "doorstep-outbox-install.1"]
    {
        let text = std::fs::read_to_string(folder.path().join(page)).unwrap();
        assert!(text.contains(".SH NAME"), "{page}");
    }
    let missing = Doorstep::new(&["man", "/no/such/folder"]).run().await;
    assert_eq!(missing.code, Some(1), "{}", missing.stderr);
}
