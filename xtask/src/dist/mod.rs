//! `cargo xtask dist`: what is released of the server. A stripped binary with its symbols apart, an archive of it with
//! completions, manual pages and service files, a bill of materials, and checksums, in `target/dist`.

mod sbom;
mod size;
mod toolchain;

use crate::shell::{self, Failure};
use std::fs;
use std::path::{Path, PathBuf};
use toolchain::Toolchain;

/// Largest stripped binary with default features, in bytes.
const LIMIT: u64 = 25_000_000;

/// Cargo's profile for what is released.
const PROFILE: &str = "production";

/// Files of the repository in the archive: source and place.
const FILES: &[(&str, &str)] = &[
    ("README.md", "README.md"),
    ("CHANGELOG.md", "CHANGELOG.md"),
    ("LICENSE", "LICENSE"),
    ("crates/server/console/LICENSES.txt", "LICENSES-console.txt"),
    ("packaging/systemd/spinward.service", "systemd/spinward.service"),
    ("packaging/systemd/socket/spinward.socket", "systemd/spinward.socket"),
];

/// Completions in the archive: shell and file.
const COMPLETIONS: &[(&str, &str)] = &[
    ("bash", "spinward.bash"),
    ("zsh", "_spinward"),
    ("fish", "spinward.fish"),
    ("powershell", "_spinward.ps1"),
];

/// Parts to be built.
struct Plan {
    /// Target triple.
    target: String,
    tools: Toolchain,
    /// Arguments that select features.
    features: Vec<String>,
    /// The version of the server.
    version: String,
}

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let plan = Plan::new(arguments)?;
    let binary = match shell::option(arguments, "--bin") {
        Some(file) => PathBuf::from(file),
        None => plan.build()?,
    };
    let out = shell::target().join("dist");
    let name = format!("spinward-{}-{}", plan.version, plan.target);
    let folder = out.join(&name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;

    let stripped = folder.join("spinward");
    let symbols = out.join(format!("{name}.debug"));
    split(&plan.tools, &binary, &stripped, &symbols)?;
    let bytes = fs::metadata(&stripped)?.len();
    println!("{} unstripped: {}", plan.target, size::shown(fs::metadata(&binary)?.len()));
    println!("{} stripped:   {}", plan.target, size::shown(bytes));
    size::of_features(&plan.tools, &binary, &plan.target)?;

    for (from, to) in FILES {
        let to = folder.join(to);
        fs::create_dir_all(to.parent().unwrap_or(&folder))?;
        fs::copy(shell::root().join(from), to).map_err(|error| format!("{from}: {error}"))?;
    }
    written_by_itself(&plan.tools, &stripped, &folder)?;
    if plan.tools.is_native() {
        // For the package of `cargo deb`, which looks for them at a place without a version.
        written_by_itself(&plan.tools, &stripped, &out)?;
    }
    let sbom = out.join(format!("{name}.cdx.json"));
    fs::write(&sbom, serde_json::to_string_pretty(&sbom::of(&plan.target, &plan.features)?)? + "\n")?;
    fs::copy(&sbom, folder.join("sbom.cdx.json"))?;

    let archive = archived(&out, &name, "tar.gz")?;
    let symbols = archived(&out, &format!("{name}.debug"), "tar.gz")?;
    let listed = [&archive, &symbols, &sbom];
    let names = listed.iter().filter_map(|file| file.file_name()?.to_str());
    let mut sums = shell::command("sha256sum", &names.collect::<Vec<_>>());
    let sums = shell::output(sums.current_dir(&out))?;
    fs::write(out.join(format!("{name}.sha256")), &sums)?;
    print!("\nin {}:\n{sums}", out.display());
    if plan.features.is_empty() && bytes > LIMIT {
        return Err(format!("the binary has {}, more than {}", size::shown(bytes), size::shown(LIMIT)).into());
    }
    Ok(())
}

impl Plan {
    fn new(arguments: &[String]) -> Result<Self, Failure> {
        let host = shell::output(&mut shell::command("rustc", &["-vV"]))?;
        let host = host.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc names no host")?;
        let target = shell::option(arguments, "--target").unwrap_or(host).to_owned();
        let features = match shell::option(arguments, "--features") {
            Some(list) => vec!["--no-default-features".to_owned(), format!("--features={list}")],
            None => Vec::new(),
        };
        let version = sbom::metadata()?.server()?["version"].as_str().map(str::to_owned);
        let version = version.ok_or("the server has no version")?;
        let tools = Toolchain::new(&target, host)?;
        Ok(Self { target, tools, features, version })
    }

    fn build(&self) -> Result<PathBuf, Failure> {
        let common = ["rustc", "--locked", "--package", "spinward-server", "--bin", "spinward"];
        let mut cargo = shell::cargo(&common);
        cargo.args(["--profile", PROFILE]);
        cargo.args(&self.features);
        let mut place = shell::target();
        if !self.tools.is_native() {
            place.push(&self.target);
        }
        self.tools.build(&mut cargo);
        shell::run(&mut cargo)?;
        Ok(place.join(PROFILE).join("spinward"))
    }
}

/// Splits a binary into one without symbols and a file of symbols, which debuggers find by the link between them.
fn split(tools: &Toolchain, binary: &Path, stripped: &Path, symbols: &Path) -> Result<(), Failure> {
    let objcopy =
        |arguments: &[&str], files: &[&Path]| shell::run(tools.binutil("objcopy", arguments).args(files));
    objcopy(&["--only-keep-debug"], &[binary, symbols])?;
    objcopy(&["--strip-all"], &[binary, stripped])?;
    let link = format!("--add-gnu-debuglink={}", symbols.display());
    objcopy(&[&link], &[stripped])
}

/// Completions and manual pages, which the binary itself prints; nothing where it cannot be run.
fn written_by_itself(tools: &Toolchain, binary: &Path, folder: &Path) -> Result<(), Failure> {
    let Some(mut pages) = tools.program(binary) else {
        println!("no completions and no manual pages: the binary does not run here");
        return Ok(());
    };
    shell::run(pages.args(["man", "--dir"]).arg(folder.join("man")))?;
    let completions = folder.join("completions");
    fs::create_dir_all(&completions)?;
    for (shell, file) in COMPLETIONS {
        let Some(mut program) = tools.program(binary) else { continue };
        let text = shell::output(program.args(["completions", shell]))?;
        fs::write(completions.join(file), text)?;
    }
    Ok(())
}

/// Packs a file or folder of `out`, the same bytes for the same content.
fn archived(out: &Path, name: &str, end: &str) -> Result<PathBuf, Failure> {
    let archive = out.join(format!("{name}.{end}"));
    let mut tar = shell::command(
        "tar",
        &[
            "--sort=name",
            "--mtime=@0",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "--use-compress-program=gzip -n9",
        ],
    );
    shell::run(tar.current_dir(out).arg("-cf").arg(&archive).arg(name))?;
    Ok(archive)
}
