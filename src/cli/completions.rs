//! `renderhook completions`.

use clap_complete::Shell;

use super::output::Output;

/// Flags of `completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  renderhook completions bash > /etc/bash_completion.d/renderhook\n  \
    renderhook completions zsh > \"${fpath[1]}/_renderhook\"\n  \
    renderhook completions fish > ~/.config/fish/completions/renderhook.fish")]
pub(super) struct CompletionsFlags {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: &CompletionsFlags) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "renderhook", &mut script);
    Ok(Output::default().line(String::from_utf8(script)?.trim_end())?)
}
