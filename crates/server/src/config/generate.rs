//! A first configuration, with keys of its own.

use super::read::Format;
use crate::secret::Secret;
use spinward::id::Entropy;

/// The secrets of a new configuration.
#[derive(Debug)]
pub struct Secrets {
    /// Key of tokens.
    pub token: Secret,
    /// Key of the server API.
    pub api: Secret,
    /// Password of the admin interface.
    pub admin_password: Secret,
    /// Key of the admin interface's sessions.
    pub admin_secret: Secret,
}

impl Secrets {
    /// Draws new ones: 256 bits each, the password 128.
    #[must_use]
    pub fn draw(entropy: &Entropy) -> Self {
        let half = || entropy.bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        Self {
            token: Secret::new(half() + &half()),
            api: Secret::new(half() + &half()),
            admin_password: Secret::new(half()),
            admin_secret: Secret::new(half() + &half()),
        }
    }
}

/// A configuration file to start from.
#[must_use]
pub fn starter(format: Format, secrets: &Secrets) -> String {
    let (token, api) = (secrets.token.expose(), secrets.api.expose());
    let (password, secret) = (secrets.admin_password.expose(), secrets.admin_secret.expose());
    match format {
        Format::Json => format!(
            r#"{{
  "client": {{
    "token": {{
      "hmac_secret_key": "{token}"
    }},
    "allowed_origins": []
  }},
  "http_api": {{
    "key": "{api}"
  }},
  "admin": {{
    "enabled": false,
    "password": "{password}",
    "secret": "{secret}"
  }}
}}
"#
        ),
        Format::Yaml => format!(
            "client:\n  token:\n    hmac_secret_key: \"{token}\"\n  allowed_origins: []\n\n\
             http_api:\n  key: \"{api}\"\n\n\
             admin:\n  enabled: false\n  password: \"{password}\"\n  secret: \"{secret}\"\n"
        ),
        Format::Toml => format!(
            "[client]\nallowed_origins = []\n\n[client.token]\nhmac_secret_key = \"{token}\"\n\n\
             [http_api]\nkey = \"{api}\"\n\n\
             [admin]\nenabled = false\npassword = \"{password}\"\nsecret = \"{secret}\"\n"
        ),
    }
}
