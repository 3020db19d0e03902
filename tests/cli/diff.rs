use crate::support::{Desk, SHOP};

fn desk(edit: impl Fn(&str) -> String) -> Desk {
    let desk = Desk::new();
    desk.write("old.yaml", SHOP);
    desk.write("new.yaml", &edit(SHOP));
    desk
}

#[test]
fn nobody_moves_when_nothing_changes() {
    let desk = desk(|text| format!("# a comment\n{text}"));
    let done = desk.run(&["diff", "old.yaml", "new.yaml", "--synthetic", "1000"]).ended_with(0);
    assert!(done.stdout.ends_with("nobody moves\n"), "{}", done.stdout);
}

#[test]
fn an_edit_of_weights_moves_just_so_many_from_stable_to_canary() {
    let desk = desk(|text| text.replace("weight: 95", "weight: 90").replace("weight: 5,", "weight: 10,"));
    let json = desk.run(&["diff", "old.yaml", "new.yaml", "-o", "json", "--synthetic", "20000"]).ended_with(1).json();
    assert_eq!((&json["schema"], &json["moves"]), (&"ringway.diff/v1".into(), &true.into()));
    let shop = &json["services"][0];
    assert_eq!(shop["userKeyAs"], serde_json::json!(["header x-user-id"]));
    let moves = shop["moves"].as_array().unwrap();
    assert_eq!(moves.len(), 1, "{json:#}");
    assert_eq!((&moves[0]["from"]["variant"], &moves[0]["to"]["variant"]), (&"stable".into(), &"canary".into()));
    let users = moves[0]["users"].as_u64().unwrap();
    assert!((850..1150).contains(&users), "{users} of 20000");
    let everyone = &shop["cohorts"][1];
    assert_eq!(everyone["name"], "everyone");
    assert!((everyone["moved"].as_f64().unwrap() - 0.05).abs() < 1e-9);
    let text = desk.run(&["diff", "old.yaml", "new.yaml"]).ended_with(1).stdout;
    assert!(text.contains("stable → canary (everyone)") && text.contains("5 % of it moves (exact)"), "{text}");
}

#[test]
fn a_list_of_users_is_followed_by_name() {
    let desk = desk(|text| {
        text.replace("weights: { canary: 100 }", "weights: { canary: 100 }").replace(
            "    cohorts:\n",
            "    cohorts:\n      - { name: beta, when: { userList: { file: beta.txt } }, weights: { canary: 100 } }\n",
        )
    });
    desk.write("beta.txt", "u-1842\nalice@example.com\n");
    desk.write("users.txt", "# ours\nu-1842\nalice@example.com\n\n1\n你好\n");
    let args = ["diff", "old.yaml", "new.yaml", "--users", "users.txt", "-o", "json"];
    let shop = &desk.run(&args).ended_with(1).json()["services"][0];
    assert_eq!((&shop["users"], &shop["cohortChanged"], &shop["moved"]), (&4.into(), &2.into(), &2.into()));
    assert_eq!(shop["moves"][0]["to"], serde_json::json!({ "cohort": "beta", "variant": "canary" }));
}

#[test]
fn another_salt_is_named() {
    let desk = desk(|text| text.replace("salt: shop-v42", "salt: shop-v43"));
    let done = desk.run(&["diff", "old.yaml", "new.yaml", "--synthetic", "5000"]).ended_with(1);
    assert!(done.stdout.contains("the salt changed: every user is dealt anew"), "{}", done.stdout);
    assert!(done.stdout.contains("9.5 % of it moves (expected)"), "{}", done.stdout);
}

#[test]
fn the_same_list_in_another_directory_is_the_same() {
    let desk = Desk::new();
    let text = SHOP.replace("header: { name: x-employee, exact: \"1\" }", "userList: { file: staff.txt }");
    let text = text.split("tests:").next().unwrap();
    for directory in ["a", "b"] {
        std::fs::create_dir(desk.path(directory)).unwrap();
        desk.write(&format!("{directory}/override.key"), "open sesame");
        desk.write(&format!("{directory}/staff.txt"), "u-1\n");
        desk.write(&format!("{directory}/ringway.yaml"), text);
    }
    let args = ["diff", "a/ringway.yaml", "b/ringway.yaml", "--synthetic", "100"];
    desk.run(&args).ended_with(0);
    desk.write("b/staff.txt", "u-2\n");
    assert!(desk.run(&args).ended_with(1).stdout.contains("the cohorts changed"));
}

#[test]
fn services_that_come_and_go_are_named() {
    let desk = desk(|text| text.replace("  shop:\n", "  store:\n"));
    let done = desk.run(&["diff", "old.yaml", "new.yaml"]).ended_with(1);
    assert!(done.stdout.contains("store: new") && done.stdout.contains("shop: gone"), "{}", done.stdout);
}

#[test]
fn every_kind_of_user_key_can_be_fed() {
    for (source, fed) in [
        ("{ cookie: uid }", "cookie uid"),
        ("{ query: user }", "query user"),
        ("{ issueCookie: rid }", "issueCookie rid"),
        ("clientIP", "clientIP"),
        ("{ jwtClaim: sub }", "jwtClaim sub"),
    ] {
        let of = |text: &str| text.replace("{ header: x-user-id }, { cookie: uid }", source);
        let desk = Desk::new();
        desk.write("old.yaml", &of(SHOP));
        desk.write("new.yaml", &of(&SHOP.replace("weight: 5,", "weight: 95,")));
        let args = ["diff", "old.yaml", "new.yaml", "-o", "json", "--synthetic", "4000"];
        let shop = &desk.run(&args).ended_with(1).json()["services"][0];
        assert_eq!(shop["userKeyAs"][0], fed);
        let moved = shop["moved"].as_u64().unwrap();
        assert!((1650..1950).contains(&moved), "{source}: {moved} of 4000, 45 % expected");
    }
}

#[test]
fn trouble_is_neither_yes_nor_no() {
    let desk = desk(str::to_owned);
    desk.write("empty.txt", "\n");
    for args in [
        &["diff", "old.yaml"][..],
        &["diff", "old.yaml", "none.yaml"],
        &["diff", "-", "-"],
        &["diff", "old.yaml", "new.yaml", "--users", "none.txt"],
        &["diff", "old.yaml", "new.yaml", "--users", "empty.txt"],
        &["diff", "old.yaml", "new.yaml", "--service", "nowhere"],
        &["diff", "old.yaml", "new.yaml", "--synthetic", "0"],
    ] {
        desk.run(args).ended_with(2);
    }
}
