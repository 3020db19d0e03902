//! What people had written, and what came of it, byte by byte: whoever changes it, sees it. That it is right is shown by what
//! was written by hand for other inputs (`tests/cli/by_hand.rs`).

#![cfg(test)]

use super::*;
use crate::config::load_texts;

const KINDS: [(&str, Kind); 4] = [
    ("ingress-nginx", Kind::IngressNginx),
    ("gateway-api", Kind::GatewayApi),
    ("argo-rollouts", Kind::ArgoRollouts),
    ("nginx", Kind::Nginx),
];

#[test]
fn what_comes_out_has_not_changed() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/migrate");
    let mut seen = 0;
    for (name, kind) in KINDS {
        let mut inputs: Vec<_> =
            std::fs::read_dir(folder.join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        inputs.retain(|path| !path.to_string_lossy().ends_with(".ringway.yaml"));
        inputs.sort();
        for input in inputs {
            let text = std::fs::read_to_string(&input).unwrap();
            let migrated = migrate(kind, &[Source::new("input", text)]).unwrap();
            let output = input.with_extension("ringway.yaml");
            let expected = std::fs::read_to_string(&output).unwrap_or_default();
            assert_eq!(migrated.text, expected, "{}", output.display());
            let loaded = load_texts(vec![Source::new("output", migrated.text)]);
            loaded.unwrap_or_else(|errors| panic!("{}: {errors}", output.display()));
            seen += 1;
        }
    }
    assert!(seen >= 7, "{seen} pairs");
}

#[test]
fn what_cannot_be_read_or_has_nothing_is_told() {
    let told = |kind, text: &str| migrate(kind, &[Source::new("a.yaml", text)]).unwrap_err();
    assert!(told(Kind::GatewayApi, "kind: Service\n").contains("no HTTPRoute"));
    assert!(told(Kind::ArgoRollouts, "kind: [").starts_with("a.yaml:"));
    assert!(told(Kind::Nginx, "http {").starts_with("a.yaml:1:"));
    assert!(told(Kind::IngressNginx, "").contains("no Ingress"));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(128))]
    #[test]
    fn any_text_is_read_or_refused(text in "(kind: (Ingress|HTTPRoute|Rollout)\n)?[ -~\n]{0,200}") {
        for (_, kind) in KINDS {
            let _ = migrate(kind, &[Source::new("a", text.clone())]);
        }
    }
}
