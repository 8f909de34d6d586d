//! `--print-config`: the settings as a commented file.
use super::options::Setting;
use super::{Config, Origin, Settings};

/// Spells the settings so that `--config` reads the same ones.
pub(super) fn print(settings: &Settings) -> String {
    let mut out = format!(
        "# Settings of chat-server {}. Use them with: chat-server --config FILE\n",
        env!("CARGO_PKG_VERSION")
    );
    let defaults = Config::default();
    let mut group = "";
    for setting in Setting::all() {
        if setting.group() != group {
            group = setting.group();
            let heading = match setting {
                Setting::Option(_) => format!("\n# {group}\n"),
                Setting::Limit(_) => "\n[limits]\n".to_owned(),
            };
            out.push_str(&heading);
        }
        out.push('\n');
        comment(&mut out, setting.help());
        let bounds = setting.bounds().map(|(min, max)| format!("From {min} to {max}. "));
        let default = setting.show(&defaults);
        comment(&mut out, &format!("{}Default: {default}", bounds.unwrap_or_default()));
        match settings.origin(setting) {
            Origin::Default => {}
            origin @ (Origin::File { .. } | Origin::Variable(_) | Origin::Flag(_)) => {
                comment(&mut out, &format!("Set by {origin}"));
            }
        }
        out.push_str(&format!("{} = {}\n", setting.name(), setting.show(&settings.config)));
    }
    out
}

/// Adds a comment, wrapped between words.
fn comment(out: &mut String, text: &str) {
    let mut width = 0;
    for word in text.split_whitespace() {
        if width > 0 && width + 1 + word.len() <= WIDTH_MAX {
            out.push(' ');
        } else {
            out.push_str(if width > 0 { "\n# " } else { "# " });
            width = 1;
        }
        out.push_str(word);
        width += 1 + word.len();
    }
    out.push('\n');
}

const WIDTH_MAX: usize = 98;
