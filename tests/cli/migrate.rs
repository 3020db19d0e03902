use crate::support::Desk;

const ROUTE: &str = "kind: HTTPRoute\nmetadata: { name: shop }\nspec:\n  rules:\n    - backendRefs: [{ name: v1, port: 80, weight: 9 }, { name: v2, port: 80 }]\n";

#[test]
fn what_comes_out_is_checked_and_what_is_missing_is_told() {
    let desk = Desk::new();
    desk.write("route.yaml", ROUTE);
    let done = desk.run(&["migrate", "gateway-api", "route.yaml"]).ended_with(0);
    assert!(done.stderr.ends_with("nothing was left out\n"), "{}", done.stderr);
    desk.write("ringway.yaml", &done.stdout);
    desk.run(&["check"]).ended_with(0);

    desk.write("retry.yaml", &format!("{ROUTE}      retry: {{ attempts: 2 }}\n"));
    let done = desk.run(&["migrate", "gateway-api", "retry.yaml"]).ended_with(1);
    assert!(done.stderr.contains("left out: HTTPRoute shop, rule 1: retry"), "{}", done.stderr);
    assert!(done.stdout.contains("# LEFT OUT (HTTPRoute shop, rule 1): retry"), "{}", done.stdout);
    desk.run(&["migrate", "gateway-api", "retry.yaml", "--allow-partial"]).ended_with(0);
}

#[test]
fn what_cannot_be_read_ends_with_2() {
    let desk = Desk::new();
    desk.write("route.yaml", ROUTE);
    for (kind, file, told) in [
        ("nginx", "route.yaml", "is missing before"),
        ("argo-rollouts", "route.yaml", "no Rollout"),
        ("nginx", "gone", "cannot read gone"),
    ] {
        let done = desk.run(&["migrate", kind, file]).ended_with(2);
        assert!(done.stdout.is_empty() && done.stderr.contains(told), "{kind} {file}: {}", done.stderr);
    }
}
