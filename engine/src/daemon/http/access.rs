//! Who may submit over HTTP: whoever has one of the keys of `<transmissions-api>`.

use super::reply::Refusal;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use hyper::header::AUTHORIZATION;
use hyper::{HeaderMap, StatusCode};

/// The key that a request has and that is one of `keys`. PowerMTA's clients send it as it is, others behind `Bearer`, or
/// as the password of `Basic`.
pub fn key<'k>(headers: &HeaderMap, keys: &'k [String]) -> Result<&'k str, Refusal> {
    let refuse = |why: &str| Err(Refusal::new(StatusCode::FORBIDDEN, why));
    if keys.is_empty() {
        return refuse("there are no keys: <transmissions-api> has no api-key");
    }
    let Some(given) = headers.get(AUTHORIZATION) else {
        return refuse("the header Authorization is missing; it carries an api-key of <transmissions-api>");
    };
    let given = secret(given.as_bytes());
    // All are looked at, each as long as any other: the time tells nothing of them.
    let mut found = None;
    for key in keys {
        if verify_slices_are_equal(key.as_bytes(), &given).is_ok() {
            found = Some(key.as_str());
        }
    }
    match found {
        Some(key) => Ok(key),
        None => refuse("the key in the header Authorization is not known"),
    }
}

fn secret(given: &[u8]) -> Vec<u8> {
    let after = |scheme: &str| {
        let (word, rest) = given.split_at_checked(scheme.len())?;
        word.eq_ignore_ascii_case(scheme.as_bytes()).then(|| rest.trim_ascii())
    };
    if let Some(key) = after("bearer ") {
        return key.to_vec();
    }
    let basic = after("basic ").and_then(|text| data_encoding::BASE64.decode(text).ok());
    let password = basic.and_then(|pair| {
        let colon = memchr::memchr(b':', &pair)?;
        Some(pair[colon + 1..].to_vec())
    });
    password.unwrap_or_else(|| given.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_as_it_is_or_in_a_scheme() {
        let keys = ["0123456789abcdef0123456789abcdef".to_owned(), "k".repeat(32)];
        let with = |value: &str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
            key(&headers, &keys).map_err(|e| e.status)
        };
        let second = keys[1].as_str();
        assert_eq!(with(second), Ok(second));
        assert_eq!(with(&format!("Bearer {second}")), Ok(second));
        let basic = data_encoding::BASE64.encode(format!("scott:{second}").as_bytes());
        assert_eq!(with(&format!("basic {basic}")), Ok(second));
        for wrong in ["", "Bearer", "Basic !", "0123456789abcdef0123456789abcdeF", &second[1..]] {
            assert_eq!(with(wrong), Err(StatusCode::FORBIDDEN), "{wrong}");
        }
        assert!(key(&HeaderMap::new(), &keys).unwrap_err().description.contains("is missing"));
        assert!(key(&HeaderMap::new(), &[]).unwrap_err().description.contains("no keys"));
    }
}
