use super::super::keys::VerifyKey;
use super::super::testing::signers;
use super::*;
use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der, Pkcs8V1Der};
use base64::engine::general_purpose::STANDARD;

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

fn pkcs8(signer: &Signer) -> Vec<u8> {
    match signer {
        Signer::Hmac(_) => panic!("a secret has no private key"),
        Signer::Rsa(pair) => AsDer::<Pkcs8V1Der<'_>>::as_der(&**pair).unwrap().as_ref().to_vec(),
        Signer::Ec(_, pair) => pair.to_pkcs8v1().unwrap().as_ref().to_vec(),
        Signer::Ed(pair) => pair.to_pkcs8v1().unwrap().as_ref().to_vec(),
    }
}

/// A key read from a text signs what the public key of the first verifies.
fn is_the_same(read: &Signer, signer: &Signer, form: &str) {
    let public = VerifyKey::pem(&signer.public_pem()).unwrap();
    assert_eq!(read.algs(), signer.algs(), "{form}");
    for alg in read.algs() {
        let signature = read.sign(*alg, b"text").unwrap();
        assert_eq!(public.verify(*alg, b"text", &signature), Ok(()), "{alg}, {form}");
    }
}

#[test]
fn private_keys_are_read_in_each_of_their_forms() {
    for signer in &signers()[1..] {
        let der = pkcs8(signer);
        let text = pem("PRIVATE KEY", &der);
        is_the_same(&Signer::pem(&text).unwrap(), signer, &text);
        is_the_same(&Signer::pem(&format!("a comment\n{text}")).unwrap(), signer, "after a comment");
        if let Signer::Ec(_, pair) = signer {
            let sec1 = AsDer::<EcPrivateKeyRfc5915Der<'_>>::as_der(&pair.private_key()).unwrap();
            let text = pem("EC PRIVATE KEY", sec1.as_ref());
            is_the_same(&Signer::pem(&text).unwrap(), signer, &text);
            // As openssl ecparam -genkey writes them.
            let text = format!("{}{text}", pem("EC PARAMETERS", b"any"));
            is_the_same(&Signer::pem(&text).unwrap(), signer, &text);
        }
        if let Signer::Rsa(_) = signer {
            // The older form is what PKCS #8 wraps, behind 26 bytes at this size.
            let text = pem("RSA PRIVATE KEY", &der[26..]);
            is_the_same(&Signer::pem(&text).unwrap(), signer, &text);
        }
    }
}

#[test]
fn what_is_no_private_key_is_told() {
    let fault = |text: &str| Signer::pem(text).unwrap_err();
    for text in ["", "secret", "-----BEGIN PRIVATE KEY-----", &signers()[1].public_pem()] {
        assert_eq!(fault(text), SignFault::NotPem, "{text}");
    }
    assert_eq!(fault(&pem("OPENSSH PRIVATE KEY", b"any")), SignFault::NotPem);
    assert_eq!(fault(&pem("ENCRYPTED PRIVATE KEY", b"any")), SignFault::Encrypted);
    let der = pkcs8(&signers()[2]);
    for label in ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"] {
        assert_eq!(fault(&pem(label, &der[..der.len() - 1])), SignFault::Unsupported, "{label}");
    }
    let foreign = signers()[1].sign(Alg::Es(Curve::P256), b"text");
    assert_eq!(foreign, Err(SignFault::Alg { alg: Alg::Es(Curve::P256), serves: signers()[1].algs() }));
}
