//! The simulated Entra's signing keys: what is published, what is signed with, and rotation.
//!
//! RSA keys are slow to make, so key material is made at most twice per process and shared by every simulator in it;
//! a rotation swaps between the two under a new key id.

use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rand::SeedableRng as _;
use rsa::pkcs1::EncodeRsaPrivateKey as _;
use rsa::pkcs8::EncodePublicKey as _;
use rsa::traits::PublicKeyParts as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::foundation::rng::Random;

/// One RSA key in the forms that are needed.
pub struct Material {
    private: EncodingKey,
    private_der: Vec<u8>,
    public_der: Vec<u8>,
    modulus: String,
    exponent: String,
}

static MATERIALS: [OnceLock<Arc<Material>>; 2] = [OnceLock::new(), OnceLock::new()];

fn material(which: usize, random: &dyn Random) -> Arc<Material> {
    let slot = &MATERIALS[which % MATERIALS.len()];
    slot.get_or_init(|| {
        let mut seed = [0; 32];
        random.fill(&mut seed);
        let mut numbers = rand::rngs::StdRng::from_seed(seed);
        let key = rsa::RsaPrivateKey::new(&mut numbers, 2048).expect("2048 bits is a valid RSA size");
        let private_der = key.to_pkcs1_der().expect("a fresh key encodes").as_bytes().to_vec();
        let public = key.to_public_key();
        Arc::new(Material {
            private: EncodingKey::from_rsa_der(&private_der),
            private_der,
            public_der: public.to_public_key_der().expect("a fresh key encodes").as_bytes().to_vec(),
            modulus: URL_SAFE_NO_PAD.encode(public.n().to_bytes_be()),
            exponent: URL_SAFE_NO_PAD.encode(public.e().to_bytes_be()),
        })
    })
    .clone()
}

/// The key that signs now. Only this one is published.
#[derive(Clone)]
pub struct SigningKey {
    material: Arc<Material>,
    generation: usize,
    pub kid: String,
}

impl SigningKey {
    pub fn first(random: &dyn Random) -> Self {
        Self::of_generation(0, random)
    }

    /// The next key: other material, other key id.
    pub fn next(&self, random: &dyn Random) -> Self {
        Self::of_generation(self.generation + 1, random)
    }

    fn of_generation(generation: usize, random: &dyn Random) -> Self {
        let material = material(generation, random);
        let print = Sha256::new().chain_update(&material.public_der).chain_update(generation.to_be_bytes()).finalize();
        Self { material, generation, kid: URL_SAFE_NO_PAD.encode(&print[..20]) }
    }

    /// A signed RS256 token with the published key id.
    pub fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.material.private).expect("a JSON value signs with an RSA key")
    }

    /// The key set as Entra publishes it: no `alg`, as Entra leaves it out too.
    pub fn published(&self, issuer: &str) -> Value {
        json!({ "keys": [{
            "kty": "RSA", "use": "sig", "kid": self.kid, "x5t": self.kid,
            "n": self.material.modulus, "e": self.material.exponent, "issuer": issuer,
        }] })
    }

    /// The private key, PKCS#1 DER.
    pub fn private_der(&self) -> &[u8] {
        &self.material.private_der
    }

    /// The public key as a PEM text (SubjectPublicKeyInfo).
    pub fn public_pem(&self) -> String {
        let body = STANDARD.encode(&self.material.public_der);
        let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
        for line in body.as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END PUBLIC KEY-----\n");
        pem
    }
}
