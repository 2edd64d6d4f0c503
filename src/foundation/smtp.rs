//! Mail by SMTP: how a server is reached, and what its answer means.

use std::time::Duration;

use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};

use super::secret::Secret;

/// For each word of the exchange.
const PATIENCE: Duration = Duration::from_secs(15);
/// From the connection to the last word.
const WHOLE: Duration = Duration::from_secs(60);
const SYSTEM: &str = "The mail server";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// From the first byte.
    Tls,
    /// From the greeting on, never without.
    StartTls,
    /// On this machine only.
    None,
}

impl Security {
    pub fn usual_port(self) -> u16 {
        match self {
            Self::Tls => 465,
            Self::StartTls => 587,
            Self::None => 25,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Smtp {
    pub host: String,
    pub port: u16,
    pub security: Security,
    pub login: Option<(String, Secret)>,
    /// As whom we greet: the domain of the sender.
    pub domain: String,
    /// The setting that has the password.
    pub password_in: &'static str,
}

/// Why a mail did not go. The server's words may name people, so only its code is kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SmtpError {
    /// The server does not take it at the moment.
    #[error("{0}")]
    Later(String),
    /// There was no answer: whether a mail that was under way has gone is not known.
    #[error("{0}")]
    Unreachable(String),
    /// Somebody has to mend the settings.
    #[error("{0}")]
    Refused(String),
}

impl Smtp {
    fn transport(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>, lettre::transport::smtp::Error> {
        let tls = match self.security {
            Security::None => Tls::None,
            Security::StartTls => Tls::Required(TlsParameters::new(self.host.clone())?),
            Security::Tls => Tls::Wrapper(TlsParameters::new(self.host.clone())?),
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(self.host.clone())
            .port(self.port)
            .tls(tls)
            .hello_name(ClientId::Domain(self.domain.clone()))
            .timeout(Some(PATIENCE));
        if let Some((user, key)) = &self.login {
            transport = transport.credentials(Credentials::new(user.clone(), key.expose().to_owned()));
        }
        Ok(transport.build())
    }

    /// Whether the server lets us in. Nothing is sent.
    pub async fn try_out(&self) -> Result<(), SmtpError> {
        let transport = self.transport().map_err(|error| self.meaning(&error))?;
        match tokio::time::timeout(WHOLE, transport.test_connection()).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(unreachable()),
            Ok(Err(error)) => Err(self.meaning(&error)),
            Err(_) => Err(too_long()),
        }
    }

    pub async fn send(&self, message: Message) -> Result<(), SmtpError> {
        let transport = self.transport().map_err(|error| self.meaning(&error))?;
        match tokio::time::timeout(WHOLE, transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.meaning(&error)),
            Err(_) => Err(too_long()),
        }
    }

    fn meaning(&self, error: &lettre::transport::smtp::Error) -> SmtpError {
        let code = error.status().map(|code| code.to_string());
        match code {
            Some(code) if error.is_transient() => SmtpError::Later(format!("{SYSTEM} answered {code}")),
            Some(code) if matches!(code.as_str(), "530" | "534" | "535" | "538") => {
                let key = self.password_in;
                SmtpError::Refused(format!("{SYSTEM} answered {code}; check user and the key in {key}"))
            }
            Some(code) => {
                SmtpError::Refused(format!("{SYSTEM} answered {code}; check from and to, and what the user may send"))
            }
            None if error.is_client() => {
                SmtpError::Refused(format!("{SYSTEM} does not offer the TLS or the sign-in that the settings ask for"))
            }
            None if error.is_timeout() => too_long(),
            None if error.is_tls() => SmtpError::Unreachable(format!(
                "{SYSTEM} could not be reached: no TLS came about; check its certificate"
            )),
            None => unreachable(),
        }
    }
}

fn unreachable() -> SmtpError {
    SmtpError::Unreachable(format!("{SYSTEM} could not be reached"))
}

fn too_long() -> SmtpError {
    SmtpError::Unreachable(format!("{SYSTEM} could not be reached: it took too long"))
}
