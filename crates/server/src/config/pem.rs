//! PEM as options give it.

use super::catalogue::Pem;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// PEM that cannot be had. Says nothing of what was given, which may be a private key.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// The value is not PEM, not base64 of PEM, and no file has this name.
    #[error("this is neither PEM, nor PEM in base64, nor the path of a file")]
    Form,
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    File(std::io::Error),
    /// The file holds the binary form.
    #[error(
        "the file holds DER and not PEM: convert it, a certificate with `openssl x509 -inform DER -in FILE -out NEW`, a \
         key with `openssl pkey -inform DER -in FILE -out NEW`"
    )]
    Binary,
    /// The file holds something else.
    #[error("the file holds no PEM")]
    Content,
}

/// Reads PEM: the text itself, its base64, or a file, in this order.
///
/// # Errors
/// Neither text, base64 nor a path.
pub fn load(pem: &Pem) -> Result<Vec<u8>, PemError> {
    let given = pem.0.expose();
    if is_pem(given.as_bytes()) {
        return Ok(given.as_bytes().to_vec());
    }
    // As `base64` writes it: in lines.
    let whole: String = given.split_ascii_whitespace().collect();
    if let Some(decoded) = STANDARD.decode(whole).ok().filter(|decoded| is_pem(decoded)) {
        return Ok(decoded);
    }
    match std::fs::read(given.trim()) {
        Ok(content) if is_pem(&content) => Ok(content),
        // A SEQUENCE of more than 127 bytes.
        Ok(content) if matches!(content[..], [0x30, 0x81..=0x84, ..]) => Err(PemError::Binary),
        Ok(_) => Err(PemError::Content),
        // An invalid path gives other errors than "not found" on some systems.
        Err(error)
            if given.is_empty() || given.contains('\n') || error.kind() == std::io::ErrorKind::NotFound =>
        {
            Err(PemError::Form)
        }
        Err(error) => Err(PemError::File(error)),
    }
}

fn is_pem(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let Some((_, rest)) = text.split_once("-----BEGIN ") else { return false };
    let Some((label, rest)) = rest.split_once("-----") else { return false };
    rest.contains(&format!("-----END {label}-----"))
}
