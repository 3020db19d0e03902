use crate::support::{Desk, SHOP};
use std::process::Command;

fn offers(desk: &Desk, words: &[&str]) -> Vec<String> {
    let done = desk.run(&[&["__complete", "--"], words].concat()).ended_with(0);
    done.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn commands_options_and_names_are_offered() {
    let desk = Desk::new();
    desk.write("ringway.yaml", SHOP);
    for (words, expected) in [
        (&["rollb"][..], &["rollback"][..]),
        (&["rollback", ""], &["shop"]),
        (&["rollback", "--reason", "why", "s"], &["shop"]),
        (&["set-weight", "shop", ""], &["stable", "canary"]),
        (&["set-weight", "shop", "c"], &["canary"]),
        (&["rollback", "shop", "--cohort", ""], &["everyone", "staff"]),
        (&["rollback", "shop", "--cohort", "=", "st"], &["staff"]),
        (&["tap", "--variant", "st"], &["stable"]),
        (&["status", "--wait", "prom"], &["promoted"]),
        (&["status", "--time"], &["--timeout"]),
        (&["audit", ""], &["verify", "help"]),
        (&["status", "-c", "nowhere.yaml", "--admin", "unix:nowhere.sock", ""], &[]),
        (&["explain", "--", "curl", ""], &[]),
    ] {
        let mut found = offers(&desk, words);
        let mut expected: Vec<&str> = expected.to_vec();
        found.sort();
        expected.sort_unstable();
        assert_eq!(found, expected, "{words:?}");
    }
    assert!(!offers(&desk, &[""]).iter().any(|offer| offer.starts_with("__")));
    assert!(offers(&desk, &[""]).contains(&"doctor".to_owned()));
}

#[test]
fn bash_asks_the_binary() {
    let desk = Desk::new();
    desk.write("ringway.yaml", SHOP);
    let script = desk.run(&["completions", "bash"]).ended_with(0).stdout;
    let ask = |line: &str| {
        let binary = assert_cmd::cargo::cargo_bin("ringway");
        let words = format!("COMP_WORDS=({} {line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))", binary.display());
        let text = format!("{script}\n{words}\n_ringway\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"");
        let output = Command::new("bash").current_dir(desk.directory()).args(["--norc", "-c", &text]).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(ask("rollback ''"), "shop\n");
    assert_eq!(ask("rollback shop --cohort = ev"), "everyone\n");
    assert_eq!(ask("set-weight shop can"), "canary\n");
    assert_eq!(ask("check -c ''"), "\n", "files are the shell's");
}

#[test]
fn zsh_asks_the_binary() {
    let desk = Desk::new();
    let script = desk.run(&["completions", "zsh"]).ended_with(0).stdout;
    assert!(script.starts_with("#compdef ringway\n") && script.contains("__complete -- "), "{script}");
}
