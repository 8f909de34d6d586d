//! `chat-server token make` and `chat-server token check`.
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use chat_tokio::auth::jwt::{KeyError, SigningKey, TOKEN_BYTES_MAX, TokenSpec};
use chat_tokio::config::{AuthConfig, Config, Loaded};

use super::serve::When;
use super::{FAILED, USAGE, grant, identity};

const HELP: &str = "\
Makes and checks the tokens of --auth jwt and --auth cookie.

  chat-server token make --user ID [OPTIONS]     prints a token
  chat-server token check [OPTIONS] < TOKEN      says what a token grants, or why it is refused;
                                                 with --json as JSON; its end is told
                                                 with the leeway

Options of the server say which tokens these are: --jwt-secret-file, --jwt-algorithm,
--jwt-public-key, --jwks, --jwt-issuer, --jwt-audience, --jwt-leeway, --jwt-issuers, --config and
the environment.

`make` takes besides:
  --user ID            whose token it is: a-z, 0-9, `.`, `_` and `-`
  --name NAME          what the user is called; without it the user chooses
  --room PATTERN       a room that it allows, `*` stands for any text; may be repeated; default: all
  --role ROLE          a role of the user; may be repeated
  --id ID              the token's own name, by which it can be revoked
  --minutes N          how long it counts [default: 60]
  --private-key FILE   the key, in PEM, where it is not the secret of --jwt-secret-file
  --kid NAME           the key's name in the set
";

/// Runs `token`, with what stands behind that word.
pub(crate) fn run(args: Vec<OsString>) -> ExitCode {
    let mut words = args.into_iter().map(|word| word.to_string_lossy().into_owned());
    let done = match words.next().as_deref() {
        Some("make") => make(words),
        Some("check") => check(words),
        Some("--help" | "-h") => Ok(HELP.to_owned()),
        Some(_) | None => Err((USAGE, HELP.trim_end().to_owned())),
    };
    match done {
        Ok(text) => {
            super::print(&text);
            ExitCode::SUCCESS
        }
        Err((code, why)) => {
            eprintln!("chat-server: {why}");
            ExitCode::from(code)
        }
    }
}

type Done = Result<String, (u8, String)>;

fn make(mut words: impl Iterator<Item = String>) -> Done {
    let mut spec = TokenSpec { lifetime: Duration::from_secs(3600), ..TokenSpec::default() };
    let (mut rest, mut private) = (Vec::new(), None);
    while let Some(word) = words.next() {
        let mut value =
            || words.next().ok_or_else(|| (USAGE, format!("{word}: its value is missing")));
        match word.as_str() {
            "--help" | "-h" => return Ok(HELP.to_owned()),
            "--user" => spec.user = value()?,
            "--name" => spec.name = Some(value()?),
            "--room" => spec.rooms.get_or_insert_default().push(value()?),
            "--role" => spec.roles.push(value()?),
            "--id" => spec.id = Some(value()?),
            "--kid" => spec.kid = Some(value()?),
            "--private-key" => private = Some(PathBuf::from(value()?)),
            "--minutes" => {
                let minutes = value()?.parse().ok().filter(|n| (1..=MINUTES_MAX).contains(n));
                let allowed = || (USAGE, format!("--minutes: a number from 1 to {MINUTES_MAX}"));
                spec.lifetime = Duration::from_secs(60 * minutes.ok_or_else(allowed)?);
            }
            _ => rest.push(word),
        }
    }
    let auth = settings(rest)?;
    if auth.jwt_issuer.is_empty() || auth.jwt_audience.is_empty() {
        return Err((USAGE, "--jwt-issuer and --jwt-audience are needed".to_owned()));
    }
    (spec.issuer, spec.audience) = (auth.jwt_issuer.clone(), auth.jwt_audience.clone());
    let own = auth.issuer().map(|issuer| issuer.algorithm).unwrap_or_default();
    let key = match (private, &auth.jwt_secret_file) {
        (Some(path), _) => key("--private-key", &path, |text| SigningKey::private_pem(&text)),
        (None, Some(path)) => identity::secret(path)
            .and_then(|secret| SigningKey::secret(&secret, identity::hmac(own)))
            .map_err(|error| identity::told("--jwt-secret-file", path, &error)),
        (None, None) => Err("a key to sign with is missing: --jwt-secret-file, or --private-key \
                             with a private key in PEM"
            .to_owned()),
    };
    let token = spec.sign(&key.map_err(|why| (FAILED, why))?);
    token.map(|token| format!("{token}\n")).map_err(|error| (USAGE, error.to_string()))
}

fn key(
    flag: &str,
    path: &Path,
    read: impl FnOnce(Vec<u8>) -> Result<SigningKey, KeyError>,
) -> Result<SigningKey, String> {
    identity::read(path).and_then(read).map_err(|error| identity::told(flag, path, &error))
}

/// The token comes by standard input: whoever may list processes sees their arguments.
fn check(words: impl Iterator<Item = String>) -> Done {
    let mut words: Vec<String> = words.collect();
    let show = match words.iter().position(|word| word == "--json") {
        Some(at) => {
            words.remove(at);
            grant::json
        }
        None => grant::lines,
    };
    if words.iter().any(|word| word == "--help" || word == "-h") {
        return Ok(HELP.to_owned());
    }
    let auth = settings(words)?;
    let mut token = String::new();
    let most = TOKEN_BYTES_MAX as u64 + 2;
    let read = std::io::stdin().lock().take(most).read_to_string(&mut token);
    read.map_err(|error| (FAILED, format!("standard input can't be read: {error}")))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| (FAILED, error.to_string()))?;
    runtime.block_on(async {
        let jwt = identity::authority(&auth, When::AtStart).await.map_err(|why| (FAILED, why))?;
        match jwt.check(token.trim()).await {
            Ok(grant) => Ok(show(&grant)),
            Err(refusal) => Err((FAILED, format!("the token is refused: {refusal}"))),
        }
    })
}

fn settings(mut rest: Vec<String>) -> Result<AuthConfig, (u8, String)> {
    if !rest.iter().any(|word| word == "--auth" || word.starts_with("--auth=")) {
        rest.extend(["--auth".to_owned(), "jwt".to_owned()]);
    }
    let args = std::iter::once("chat-server".to_owned()).chain(rest);
    match Config::load(args, std::env::vars_os(), |path| std::fs::read_to_string(path)) {
        Ok(Loaded::Run(settings)) => Ok(settings.config.auth),
        Ok(Loaded::Print(_)) => Err((USAGE, HELP.trim_end().to_owned())),
        Err(error) => Err((USAGE, error.to_string())),
    }
}

/// Ten years.
const MINUTES_MAX: u64 = 10 * 366 * 24 * 60;
