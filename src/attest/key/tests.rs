use super::samples::{
    BY_DES3, BY_PBES1, BY_PBKDF2, BY_SCRYPT, ENCRYPTED, ENCRYPTED_PUBLIC, OTHER, OTHER_AS_PKCS8, PLAIN,
    PLAIN_PUBLIC, RSA, RSA_BY_PBKDF2, UNDER_PASSWORD_PUBLIC, WITH_PARAMETERS,
};
use super::*;

fn read(text: &str, password: Option<&str>) -> Result<SigningKey, String> {
    SigningKey::from_pem(text, password).map_err(|error| error.to_string())
}

#[test]
fn keys_of_openssl_and_cosign_are_read() {
    let public = |text: &str, password| read(text, password).unwrap().public();
    assert_eq!(public(PLAIN, None), PublicKey::from_pem(PLAIN_PUBLIC).unwrap());
    assert_eq!(public(ENCRYPTED, Some("tester")), PublicKey::from_pem(ENCRYPTED_PUBLIC).unwrap());
    assert_eq!(public(OTHER, None), public(OTHER_AS_PKCS8, None));
    public(WITH_PARAMETERS, None);
    for encrypted in [BY_PBKDF2, BY_SCRYPT] {
        assert_eq!(public(encrypted, Some("tester")), PublicKey::from_pem(UNDER_PASSWORD_PUBLIC).unwrap());
    }
}

#[test]
fn the_same_bytes_get_the_same_signature_which_only_their_key_verifies() {
    let key = read(PLAIN, None).unwrap();
    let signature = key.sign(b"text");
    assert_eq!(key.sign(b"text"), signature);
    assert!(key.public().verifies(b"text", &signature));
    assert!(!key.public().verifies(b"texts", &signature));
    assert!(!read(OTHER, None).unwrap().public().verifies(b"text", &signature));
    for nonsense in ["", "!", "AAAA", &signature[1..]] {
        assert!(!key.public().verifies(b"text", nonsense), "{nonsense}");
    }
}

#[test]
fn what_is_no_key_is_refused_and_not_shown() {
    let body: String = PLAIN.lines().nth(1).unwrap().to_owned();
    let check = |text: &str, password, expected: &str| {
        let error = read(text, password).unwrap_err();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains(&body), "{error}");
    };
    check("", None, "it is not PEM");
    check(&PLAIN.replace("-----END", "END"), None, "it is not PEM");
    check(RSA, None, "no key of ECDSA over the curve P-256");
    check(PLAIN_PUBLIC, None, "it is a `PUBLIC KEY`, where a private key is needed");
    check(
        &PLAIN.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"),
        Some("x"),
        "a form that imgforge does not read",
    );
    check(&PLAIN.replace("PRIVATE KEY", &body), None, "PEM of another kind");
    for encrypted in [BY_PBKDF2, BY_SCRYPT] {
        check(encrypted, None, "COSIGN_PASSWORD is not set");
        check(encrypted, Some("wrong"), "does not open with the password");
    }
    check(BY_DES3, Some("tester"), "a form that imgforge does not read");
    check(BY_PBES1, Some("tester"), "a form that imgforge does not read");
    check(RSA_BY_PBKDF2, Some("tester"), "no key of ECDSA over the curve P-256");
    check(ENCRYPTED, None, "COSIGN_PASSWORD is not set");
    check(ENCRYPTED, Some("wrong"), "does not open with the password");
    check(&PLAIN.replace("PRIVATE KEY", "ENCRYPTED SIGSTORE PRIVATE KEY"), Some(""), "does not read");
    let error = PublicKey::from_pem(PLAIN).unwrap_err().to_string();
    assert!(error.contains("where a public key is needed"), "{error}");
    assert_eq!(format!("{:?}", read(PLAIN, None).unwrap()), "SigningKey(…)");
}

#[test]
fn a_key_file_cannot_ask_for_all_memory() {
    let greedy = ScryptParameters { n: 1 << 30, r: 8, p: 1 };
    assert_eq!(derived(&greedy, b"salt", "x"), Err(KeyError::Encryption));
    let odd = ScryptParameters { n: 3, r: 8, p: 1 };
    assert_eq!(derived(&odd, b"salt", "x"), Err(KeyError::Encryption));
    let endless = ScryptParameters { n: 2, r: 8, p: 1 << 20 };
    assert_eq!(derived(&endless, b"salt", "x"), Err(KeyError::Encryption));
}

#[test]
fn a_wrong_password_is_never_taken_for_another_fault() {
    // What the first ones open ends as padding does, as one of 256 does by chance.
    for number in ["138", "706", "0", ""] {
        let error = read(BY_PBKDF2, Some(number)).unwrap_err();
        assert!(error.contains("does not open with the password"), "{number}: {error}");
    }
}
