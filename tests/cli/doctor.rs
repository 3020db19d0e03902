use crate::support::Desk;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

/// A file with an endpoint, and doors where nobody is.
fn file(listener: &str, endpoint: &str) -> String {
    format!(
        "listeners: [{{ address: \"{listener}\" }}]\nstateDir: state\nadmin: {{ address: \"unix:admin.sock\" }}\n\
         telemetry: {{ address: \"127.0.0.1:1\" }}\nservices: {{ shop: {{ variants: {{ stable: {{ endpoints: [\"{endpoint}\"] }} }} }} }}\n"
    )
}

#[test]
fn a_machine_that_is_well_is_told_so() {
    let desk = Desk::new();
    let endpoint = TcpListener::bind("127.0.0.1:0").unwrap();
    desk.write("ringway.yaml", &file("127.0.0.1:0", &endpoint.local_addr().unwrap().to_string()));
    let done = desk.run(&["doctor", "-o", "json"]);
    let checks = done.json();
    assert_eq!(checks["schema"], "ringway.doctor/v1");
    let verdict = |name: &str| {
        let found = checks["checks"].as_array().unwrap().iter().find(|check| check["name"] == name);
        found.unwrap_or_else(|| panic!("no {name}: {checks}"))["verdict"].clone()
    };
    for name in ["file", "mount", "state", "endpoints", "clock"] {
        assert_eq!(verdict(name), "good", "{name}: {checks}");
    }
    assert_eq!(verdict("doors"), "skipped");
}

#[test]
fn each_problem_says_what_to_do() {
    let desk = Desk::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    desk.write("ringway.yaml", &file(&taken.local_addr().unwrap().to_string(), &gone));
    std::fs::create_dir(desk.path("state")).unwrap();
    std::fs::set_permissions(desk.path("state"), std::fs::Permissions::from_mode(0o777)).unwrap();
    let done = desk.run(&["doctor"]).ended_with(1);
    for part in ["✗ state ", "chmod go-w ", "✗ listener ", "another process has it: ss", "✗ endpoints ", &gone] {
        assert!(done.stdout.contains(part), "{part}: {}", done.stdout);
    }
    desk.write("ringway.yaml", "listeners: 7\n");
    assert!(desk.run(&["doctor"]).ended_with(1).stdout.contains("`ringway check` shows all errors"));
}
