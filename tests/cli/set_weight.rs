use crate::support::{Desk, SHOP};
use std::os::unix::fs::PermissionsExt;

/// A file with comments, odd blanks and weights of every kind.
const COMMENTED: &str = "# our shop\nlisteners: [{ address: \"127.0.0.1:8080\" }]\nservices:\n  shop:\n    hashOn: [{ header: x-user-id }]\n    \
    variants:\n      stable: { weight:   95 ,   endpoints: [\"127.0.0.1:3001\"] }   # 95, since May\n      \
    canary:\n        weight: 5    # ask kim\n        endpoints: [\"127.0.0.1:3002\"]\n    cohorts:\n      \
    - { name: staff, when: { header: { name: x, exact: \"1\" } }, weights: { canary: 100 } }\n      \
    - name: beta\n        when: { header: { name: y, exact: \"1\" } }\n        weights: { stable: 50, canary: \"50\" }\n";

fn set(desk: &Desk, code: i32, args: &[&str]) -> crate::support::Done {
    desk.run(&[&["set-weight", "shop", "canary"], args, &["--write", "ringway.yaml"]].concat()).ended_with(code)
}

fn text(desk: &Desk) -> String {
    std::fs::read_to_string(desk.path("ringway.yaml")).unwrap()
}

#[test]
fn numbers_are_edited_and_everything_else_stays() {
    let desk = Desk::new();
    let path = desk.write("ringway.yaml", COMMENTED);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(set(&desk, 2, &["7.5"]).stderr.contains("add --yes"));
    assert!(set(&desk, 0, &["7.5", "--dry-run"]).stdout.contains("ringway.yaml:7: 95 → 92.5"));
    assert_eq!(text(&desk), COMMENTED);
    let done = set(&desk, 0, &["7.5", "--yes"]);
    assert!(done.stdout.contains("ringway.yaml:9: 5 → 7.5"), "{}", done.stdout);
    assert!(done.stderr.contains("to undo it, write what stood there: line 7: 95, line 9: 5"), "{}", done.stderr);
    assert_eq!(text(&desk), COMMENTED.replace("  95 ,", "  92.5 ,").replace("weight: 5 ", "weight: 7.5 "));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(set(&desk, 0, &["7.5", "--yes"]).stdout.contains("says so already"));
}

#[test]
fn less_of_the_new_version_is_never_asked_about() {
    let desk = Desk::new();
    desk.write("ringway.yaml", COMMENTED);
    set(&desk, 0, &["2"]);
    assert!(text(&desk).contains("weight: 2 "), "{}", text(&desk));
    set(&desk, 2, &["3"]);
    desk.run(&["set-weight", "shop", "stable", "99", "--write", "ringway.yaml"]).ended_with(0);
    assert!(text(&desk).contains("weight: 1 "), "{}", text(&desk));
    desk.run(&["set-weight", "shop", "stable", "98", "--write", "ringway.yaml"]).ended_with(2);
}

#[test]
fn what_is_no_plain_number_is_left_to_people_with_the_lines_to_write() {
    let desk = Desk::new();
    desk.write("ringway.yaml", COMMENTED);
    let said = set(&desk, 2, &["20", "--cohort", "staff", "--yes"]).stderr;
    assert!(said.contains("cohorts[0].weights.stable does not stand in the file"), "{said}");
    // as lines to copy
    assert!(said.contains("\n      - name: staff\n        weights: { stable: 80, canary: 20 }"), "{said}");
    let said = set(&desk, 2, &["20", "--cohort", "beta", "--yes"]).stderr;
    assert!(said.contains("is not a plain number"), "{said}");
    set(&desk, 2, &["20", "--cohort", "nobody", "--yes"]);
    set(&desk, 2, &["120", "--yes"]);
    set(&desk, 2, &["20", "--for", "1h"]);
    assert_eq!(text(&desk), COMMENTED);
}

#[test]
fn a_number_that_stands_for_several_places_is_not_touched() {
    let desk = Desk::new();
    let anchored = COMMENTED
        .replace("canary:\n        weight: 5 ", "canary:\n        weight: &few 5 ")
        .replace("canary: \"50\"", "canary: *few");
    desk.write("ringway.yaml", &anchored);
    set(&desk, 2, &["7", "--yes"]);
    assert_eq!(text(&desk), anchored);
}

#[test]
fn a_file_whose_tests_would_fail_stays_as_it_is() {
    let desk = Desk::new();
    desk.write("ringway.yaml", SHOP);
    let said = set(&desk, 2, &["0", "--cohort", "staff", "--yes"]).stderr;
    assert!(said.contains("nothing was written"), "{said}");
    assert_eq!(text(&desk), SHOP);
}
