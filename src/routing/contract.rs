//! The assignment contract, from the text of a file to the variant: published vectors, and who moves.

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method};
    use proptest::prelude::*;
    use serde_json::Value;

    use crate::config::Loaded;
    use crate::routing::explain::testing::snapshot_of;
    use crate::routing::explain::{Answer, ImaginedRequest, explain};
    use crate::routing::snapshot::Snapshot;

    fn service(salt: &str, weights: &[(&str, &str)]) -> (Loaded, Snapshot) {
        let variants = weights.iter().enumerate().map(|(at, (name, weight))| {
            format!("      {name}: {{ weight: {weight}, endpoints: [\"127.0.0.1:{}\"] }}\n", 3000 + at)
        });
        snapshot_of(&format!(
            "listeners: [{{ address: 127.0.0.1:8080 }}]\nservices:\n  shop:\n    salt: \"{salt}\"\n    \
         hashOn: [{{ header: x-user-id }}]\n    variants:\n{}",
            variants.collect::<String>()
        ))
    }

    fn answer((loaded, snapshot): &(Loaded, Snapshot), user: &str) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert("x-user-id", HeaderValue::from_bytes(user.as_bytes()).unwrap());
        let (url, peer) = ("http://shop.example.com/".to_owned(), "192.0.2.1".parse().unwrap());
        let request = ImaginedRequest { method: Method::GET, url, headers, peer, listener: None };
        explain(&loaded.file, snapshot, &request).outcome.unwrap()
    }

    #[test]
    fn every_published_vector_holds_from_file_to_variant() {
        let file: Value = serde_json::from_str(include_str!("../../tests/vectors/assignment.json")).unwrap();
        let vectors = file["vectors"].as_array().unwrap();
        assert!(vectors.len() >= 200);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        for (at, layout) in file["layouts"].as_array().unwrap().iter().enumerate() {
            let shares = layout.as_array().unwrap().iter();
            let weights: Vec<_> = shares.map(|share| (text(&share["variant"]), text(&share["weight"]))).collect();
            let weights: Vec<(&str, &str)> = weights.iter().map(|(name, weight)| (&**name, &**weight)).collect();
            for salt in ["shop-v42", "search@v2", "shop", "søk v3"] {
                let service = service(salt, &weights);
                let of_service = |vector: &&Value| vector["layout"] == at && vector["salt"] == salt;
                for vector in vectors.iter().filter(of_service) {
                    let answer = answer(&service, &text(&vector["user"]));
                    assert_eq!(
                        (&answer.bucket.into(), &answer.variant.into()),
                        (&vector["bucket"], &vector["variant"])
                    );
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// With two variants a user moves only into the one that grew.
        #[test]
        fn nobody_moves_who_need_not(before in 0u32..=100, after in 0u32..=100) {
            let at = |canary: u32| {
                service("s", &[("stable", &(100 - canary).to_string()), ("canary", &canary.to_string())])
            };
            let (old, new) = (at(before), at(after));
            for user in 0..200 {
                let (old, new) = (answer(&old, &user.to_string()).variant, answer(&new, &user.to_string()).variant);
                if old != new {
                    let grown = if after > before { "canary" } else { "stable" };
                    prop_assert_eq!(new.as_deref(), Some(grown));
                }
            }
        }

        /// With three, as long as only one of the two others changes, the other one keeps its users.
        #[test]
        fn a_third_variant_keeps_its_users(before in 0u32..=40, after in 0u32..=40, third in 1u32..=40) {
            let at = |a: u32| {
                let stable = (100 - a - third).to_string();
                service("s", &[("stable", &stable), ("a", &a.to_string()), ("b", &third.to_string())])
            };
            let (old, new) = (at(before), at(after));
            for user in 0..200 {
                let (old, new) = (answer(&old, &user.to_string()).variant, answer(&new, &user.to_string()).variant);
                prop_assert_eq!(old.as_deref() == Some("b"), new.as_deref() == Some("b"));
            }
        }
    }
}
