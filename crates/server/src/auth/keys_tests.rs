use super::super::testing::{Signer, always, keys_of, signers};
use super::*;
use crate::secret::Secret;
use aws_lc_rs::signature::KeyPair;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

#[test]
fn a_key_verifies_its_own_family_and_no_other() {
    let text = b"text";
    for signer in signers() {
        let key = match signer {
            Signer::Hmac(secret) => VerifyKey::hmac(secret.as_bytes()).unwrap(),
            _ => VerifyKey::pem(&signer.public_pem()).unwrap(),
        };
        for alg in Alg::ALL {
            let signature = signer.forge(alg, text);
            let expected = if key.serves(alg) { Ok(()) } else { Err(Mismatch::Alg) };
            assert_eq!(key.verify(alg, text, &signature), expected, "{key:?} {alg}");
            if key.serves(alg) {
                assert_eq!(key.verify(alg, b"texT", &signature), Err(Mismatch::Signature));
                assert_eq!(key.verify(alg, text, &[]), Err(Mismatch::Signature));
                assert_eq!(key.verify(alg, text, &signature[1..]), Err(Mismatch::Signature));
                assert_eq!(key.verify(alg, text, &vec![0; signature.len()]), Err(Mismatch::Signature));
            }
        }
    }
}

/// Public keys in every form that a careless library would take for an HMAC secret.
#[test]
fn the_text_of_a_public_key_is_no_secret() {
    for signer in &signers()[1..] {
        let key = VerifyKey::pem(&signer.public_pem()).unwrap();
        let der = STANDARD
            .decode(signer.public_pem().lines().filter(|l| !l.starts_with('-')).collect::<String>())
            .unwrap();
        let pem = signer.public_pem();
        for secret in [pem.as_bytes(), pem.trim().as_bytes(), &der, signer.jwk("k", "").as_bytes()] {
            for (alg, algorithm) in [
                (Alg::Hs(Sha::S256), hmac::HMAC_SHA256),
                (Alg::Hs(Sha::S384), hmac::HMAC_SHA384),
                (Alg::Hs(Sha::S512), hmac::HMAC_SHA512),
            ] {
                let forged = hmac::sign(&hmac::Key::new(algorithm, secret), b"text");
                assert_eq!(key.verify(alg, b"text", forged.as_ref()), Err(Mismatch::Alg));
            }
        }
    }
}

#[test]
fn ecdsa_signatures_have_the_fixed_size() {
    let Signer::Ec(_, pair) = &signers()[2] else { unreachable!() };
    let key = VerifyKey::pem(&signers()[2].public_pem()).unwrap();
    let fixed = signers()[2].forge(Alg::Es(Curve::P256), b"text");
    assert_eq!(fixed.len(), 64);
    let der = {
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
        let pkcs8 = aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::EcPrivateKeyRfc5915Der<'_>>::as_der(
            &pair.private_key(),
        )
        .unwrap();
        let asn1 =
            EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref()).unwrap();
        asn1.sign(&aws_lc_rs::rand::SystemRandom::new(), b"text").unwrap()
    };
    assert_eq!(key.verify(Alg::Es(Curve::P256), b"text", der.as_ref()), Err(Mismatch::Signature));
    assert_eq!(key.verify(Alg::Es(Curve::P256), b"text", &fixed), Ok(()));
}

#[test]
fn pem_is_read_in_its_usual_forms() {
    for signer in &signers()[1..] {
        let pem = signer.public_pem();
        let wrapped = {
            let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
            let lines: Vec<&str> =
                (0..body.len()).step_by(64).map(|i| &body[i..body.len().min(i + 64)]).collect();
            format!("-----BEGIN PUBLIC KEY-----\r\n{}\r\n-----END PUBLIC KEY-----", lines.join("\r\n"))
        };
        for form in
            [pem.clone(), wrapped, pem.replace('\n', "\\n"), format!("a comment\n{pem}\n"), pem.trim().into()]
        {
            let key = VerifyKey::pem(&form).unwrap();
            let alg = signer.alg();
            assert_eq!(key.verify(alg, b"t", &signer.forge(alg, b"t")), Ok(()), "{form}");
        }
    }
    let Signer::Rsa(pair) = &signers()[1] else { unreachable!() };
    let pkcs1 = STANDARD.encode(pair.public_key());
    let pem = format!("-----BEGIN RSA PUBLIC KEY-----\n{pkcs1}\n-----END RSA PUBLIC KEY-----\n");
    assert_eq!(VerifyKey::pem(&pem).unwrap().family(), Family::Rsa);
}

#[test]
fn bad_keys_are_named() {
    let block = |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----");
    let fault = |text: &str| VerifyKey::pem(text).unwrap_err();
    assert_eq!(fault(""), KeyFault::Empty);
    assert_eq!(fault(" \n"), KeyFault::Empty);
    assert_eq!(fault("secret"), KeyFault::NotPem);
    assert_eq!(fault("-----BEGIN PUBLIC KEY-----\nAAAA"), KeyFault::NotPem);
    assert_eq!(fault(&block("PUBLIC KEY", "!!")), KeyFault::NotPem);
    assert_eq!(fault(&block("PRIVATE KEY", "AAAA")), KeyFault::Label("PRIVATE KEY".into()));
    assert_eq!(fault(&block("CERTIFICATE", "AAAA")), KeyFault::Label("CERTIFICATE".into()));
    assert_eq!(fault(&block("PUBLIC KEY", "AAAA")), KeyFault::Invalid);
    // An X25519 key: right structure, wrong algorithm.
    let x25519 = "MCowBQYDK2VuAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";
    assert_eq!(fault(&block("PUBLIC KEY", x25519)), KeyFault::Unsupported);
    // Each truncation and each changed byte is an error or another key, never a panic.
    for signer in &signers()[1..] {
        let der = STANDARD
            .decode(signer.public_pem().lines().filter(|l| !l.starts_with('-')).collect::<String>())
            .unwrap();
        for cut in 0..der.len() {
            assert!(VerifyKey::pem(&block("PUBLIC KEY", &STANDARD.encode(&der[..cut]))).is_err());
        }
        for at in 0..der.len() {
            let mut changed = der.clone();
            changed[at] ^= 0x55;
            let _ = VerifyKey::pem(&block("PUBLIC KEY", &STANDARD.encode(changed)));
        }
    }
    assert_eq!(VerifyKey::hmac(b"").unwrap_err(), KeyFault::Empty);
}

#[test]
fn rsa_keys_have_a_sound_size_and_exponent() {
    let Signer::Rsa(pair) = &signers()[1] else { unreachable!() };
    let (n, e) = pem::rsa_numbers(pair.public_key().as_ref()).unwrap();
    let n = &n[1..];
    let fault = |n: &[u8], e: &[u8]| VerifyKey::rsa(n, e).unwrap_err();
    assert!(VerifyKey::rsa(n, e).is_ok());
    assert!(VerifyKey::rsa(&[&[0], n].concat(), &[0, 1, 0, 1]).is_ok());
    assert_eq!(fault(&n[128..], e), KeyFault::RsaSize(1024 - n[128].leading_zeros() as usize));
    assert_eq!(fault(&[], e), KeyFault::RsaSize(0));
    assert_eq!(fault(&[0xff; 1025], e), KeyFault::RsaSize(8200));
    for exponent in [&[][..], &[0], &[1], &[2], &[1, 0, 0], &[1; 9]] {
        assert_eq!(fault(n, exponent), KeyFault::RsaExponent);
    }
}

#[test]
fn an_option_takes_its_own_kind_of_key() {
    let (rsa, ec, ed) = (&signers()[1], &signers()[2], &signers()[5]);
    let mut wrong = keys_of(&[rsa]);
    wrong.rsa[0].key = Secret::new(ec.public_pem());
    let error = KeyRing::new(&wrong).unwrap_err();
    assert_eq!(error.option, "client.token.rsa_public_key");
    assert_eq!(error.fault, KeyFault::Kind { found: Family::Ecdsa });
    let ring = KeyRing::new(&keys_of(&[rsa, ec, ed])).unwrap();
    assert!(ring.has(Family::Rsa) && ring.has(Family::Ed25519) && !ring.has(Family::Hmac));
    let empty = KeySettings { hmac: vec![always("o", "")], ..KeySettings::default() };
    assert_eq!(KeyRing::new(&empty).unwrap_err().fault, KeyFault::Empty);
}
