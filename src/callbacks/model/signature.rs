//! The symmetric signature of Standard Webhooks 1.0.0: `v1,` and the base64 of an HMAC-SHA256 over id, time and body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::foundation::secret::Secret;

const MARK: &str = "whsec_";

/// A secret as its owner sees it.
pub fn secret(bytes: &[u8; 32]) -> Secret {
    Secret::new(format!("{MARK}{}", STANDARD.encode(bytes)))
}

/// The value of `webhook-signature`: one signature for each secret.
pub fn sign<'a>(secrets: impl Iterator<Item = &'a Secret>, id: &str, seconds: i64, body: &str) -> String {
    let signatures: Vec<String> = secrets.filter_map(|secret| one(secret, id, seconds, body)).collect();
    signatures.join(" ")
}

/// None: not a secret of ours.
fn one(secret: &Secret, id: &str, seconds: i64, body: &str) -> Option<String> {
    let key = STANDARD.decode(secret.expose().strip_prefix(MARK)?).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(format!("{id}.{seconds}.{body}").as_bytes());
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_specification_is_signed_as_it_says() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let body = r#"{"test": 2432232314}"#;
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let signed = sign([&secret, &secret].into_iter(), id, 1_614_265_330, body);
        let one = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signed, format!("{one} {one}"));
    }

    #[test]
    fn a_secret_has_32_bytes_behind_its_mark() {
        let secret = secret(&[1; 32]);
        assert_eq!(STANDARD.decode(secret.expose().strip_prefix(MARK).unwrap()).unwrap(), [1; 32]);
    }
}
