//! The description of HTTP submission for programs.

pub const DOCUMENT: &str = include_str!("openapi.json");

#[cfg(test)]
mod tests {
    use super::super::{INJECT, OPENAPI, TRANSMISSIONS};
    use super::*;
    use crate::ingest::batch::Batch;
    use crate::ingest::inject::{InjectHead, MEMBERS};
    use crate::ingest::inject_rows::InjectRows;
    use crate::ingest::transmission::Transmission;
    use crate::mail::Fixed;
    use serde_json::Value;
    use std::collections::BTreeSet;

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).expect("the document is JSON")
    }

    fn keys(object: &Value) -> BTreeSet<&str> {
        object.as_object().expect("an object").keys().map(String::as_str).collect()
    }

    /// Whoever knows an object says which properties it has: all of them, and no other.
    fn example<'d>(document: &'d Value, schema: &str) -> &'d Value {
        let schema = &document["components"]["schemas"][schema];
        assert_eq!(keys(&schema["properties"]), keys(&schema["example"]), "{schema}");
        assert_eq!(schema["additionalProperties"], false);
        &schema["example"]
    }

    #[test]
    fn its_paths_are_those_that_are_served() {
        assert_eq!(keys(&document()["paths"]), BTreeSet::from([TRANSMISSIONS, INJECT, OPENAPI]));
    }

    #[test]
    fn every_member_of_an_injection_is_accepted() {
        let document = document();
        let request = example(&document, "InjectV1Request");
        let members: BTreeSet<&str> =
            MEMBERS.split([',', ' ']).filter(|m| !m.is_empty() && *m != "and").collect();
        assert_eq!(keys(request), members);
        let mut head = InjectHead::default();
        for (key, value) in request.as_object().unwrap().iter().filter(|(key, _)| *key != "recipients") {
            head.take(key, value.to_string().as_bytes()).unwrap();
        }
        for (inner, at) in [
            ("BuiltContent", "/content"),
            ("Mailbox", "/content/from"),
            ("Attachment", "/content/attachments/0"),
            ("Recipient", "/recipients/0"),
        ] {
            assert_eq!(Some(example(&document, inner)), request.pointer(at), "{inner}");
        }
        let content = head.compile(&Fixed::default(), &["x-job"]).unwrap();
        let (rows, _) = InjectRows::new(&head, &content).unwrap();
        let mut batch = Batch::new();
        rows.read(0, request["recipients"][0].to_string().as_bytes(), &mut batch).unwrap();
        assert_eq!(batch.row(0).unwrap().fault, None);
    }

    #[test]
    fn every_member_of_a_transmission_is_accepted() {
        let document = document();
        let request = example(&document, "Transmission");
        assert_eq!(example(&document, "TransmissionRecipient"), &request["recipients"][1]);
        let body = request.to_string();
        assert_eq!(Transmission::parse(body.as_bytes()).unwrap().envelopes.len(), 2);
    }

    #[test]
    fn answers_have_the_members_that_are_promised() {
        let document = document();
        let schemas = &document["components"]["schemas"];
        let answer: Value = serde_json::from_str(&super::super::inject::answer(1, 0, Some(""))).unwrap();
        assert_eq!(keys(&answer), keys(&schemas["InjectV1Response"]["properties"]));
        let answer: Value = serde_json::from_str(&super::super::transmissions::answer(1, 0)).unwrap();
        let promised = &schemas["TransmissionResults"]["properties"]["results"]["properties"];
        assert_eq!(keys(&answer["results"]), keys(promised));
    }
}
