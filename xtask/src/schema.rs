//! `cargo xtask schema`: writes the table of API facts that `windlass-api` embeds, from the published `.proto` files.
//!
//! Run it by hand when Kubernetes moves; CI builds use the committed table. Only facts are taken: names, numbers, types and
//! the `+markers` of comments, never a sentence. What `.proto` files do not say about the Go types is in `schema/go.txt`, what came
//! after them in `schema/later.txt`.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use prost_reflect::prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto};

/// Where the facts are read from, where they go.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Directory that holds `api/` and `apimachinery/` with `generated.proto` files; fetched as a crate when not given.
    #[arg(long)]
    protos: Option<PathBuf>,
    /// The table to write.
    #[arg(long, default_value = "crates/api/src/schema/facts.txt")]
    output: PathBuf,
}

/// Directory of each package, its name in OpenAPI, the group and version that it serves, and its alias in type references.
const PACKAGES: &[(&str, &str, &str, &str)] = &[
    ("apimachinery/pkg/apis/meta/v1", "io.k8s.apimachinery.pkg.apis.meta.v1", "meta.k8s.io/v1", "meta"),
    ("api/core/v1", "io.k8s.api.core.v1", "v1", "core"),
    ("api/apps/v1", "io.k8s.api.apps.v1", "apps/v1", "apps"),
    ("api/authentication/v1", "io.k8s.api.authentication.v1", "authentication.k8s.io/v1", "authentication"),
    ("api/authorization/v1", "io.k8s.api.authorization.v1", "authorization.k8s.io/v1", "authorization"),
    ("api/autoscaling/v1", "io.k8s.api.autoscaling.v1", "autoscaling/v1", "autoscaling"),
    ("api/autoscaling/v2", "io.k8s.api.autoscaling.v2", "autoscaling/v2", "autoscaling2"),
    ("api/batch/v1", "io.k8s.api.batch.v1", "batch/v1", "batch"),
    ("api/coordination/v1", "io.k8s.api.coordination.v1", "coordination.k8s.io/v1", "coordination"),
    ("api/discovery/v1", "io.k8s.api.discovery.v1", "discovery.k8s.io/v1", "discovery"),
    ("api/events/v1", "io.k8s.api.events.v1", "events.k8s.io/v1", "events"),
    ("api/networking/v1", "io.k8s.api.networking.v1", "networking.k8s.io/v1", "networking"),
    ("api/node/v1", "io.k8s.api.node.v1", "node.k8s.io/v1", "node"),
    ("api/policy/v1", "io.k8s.api.policy.v1", "policy/v1", "policy"),
    ("api/rbac/v1", "io.k8s.api.rbac.v1", "rbac.authorization.k8s.io/v1", "rbac"),
    ("api/scheduling/v1", "io.k8s.api.scheduling.v1", "scheduling.k8s.io/v1", "scheduling"),
    ("api/storage/v1", "io.k8s.api.storage.v1", "storage.k8s.io/v1", "storage"),
];

/// Messages whose JSON form is not an object of their fields: the table names them as types of their own.
const SPECIAL: &[(&str, &str)] = &[
    (".apimachinery.pkg.api.resource.Quantity", "Quantity"),
    (".apimachinery.pkg.apis.meta.v1.FieldsV1", "FieldsV1"),
    (".apimachinery.pkg.apis.meta.v1.MicroTime", "MicroTime"),
    (".apimachinery.pkg.apis.meta.v1.Time", "Time"),
    (".apimachinery.pkg.apis.meta.v1.Verbs", "Strings"),
    (".apimachinery.pkg.runtime.RawExtension", "RawExtension"),
    (".apimachinery.pkg.util.intstr.IntOrString", "IntOrString"),
    (".api.authentication.v1.ExtraValue", "Strings"),
    (".api.authorization.v1.ExtraValue", "Strings"),
];

/// What `schema/go.txt` says about one message.
#[derive(Debug, Default)]
struct GoMessage {
    kind: bool,
    fields: HashMap<String, GoField>,
}

/// What `schema/go.txt` says about one field.
#[derive(Debug, Default, Clone)]
struct GoField {
    inline: bool,
    pointer: bool,
    omitted_when_empty: bool,
    type_name: String,
    json: Option<String>,
}

/// Writes the table.
///
/// # Errors
///
/// When the `.proto` files cannot be fetched, read or understood, or the table cannot be written.
pub(crate) fn run(options: &Options) -> Result<()> {
    let protos = match &options.protos {
        Some(directory) => directory.clone(),
        None => fetch()?,
    };
    let mut compiler = protox::Compiler::new([&protos]).context("open the directory of .proto files")?;
    compiler.include_source_info(true);
    let go = read_go(include_str!("schema/go.txt"))?;
    let mut table = String::from(HEADER);
    for &(directory, name, group_version, _) in PACKAGES {
        let path = format!("{directory}/generated.proto");
        compiler.open_file(&path).with_context(|| format!("compile {path}"))?;
        let set = compiler.file_descriptor_set();
        let file = set.file.iter().find(|file| file.name() == path).context("the compiled file is in its own set")?;
        writeln!(table, "p {name} {group_version}")?;
        let mut messages = read_package(directory, file, &go)?;
        add_later(&mut messages, directory, include_str!("schema/later.txt"))?;
        for (name, message) in messages {
            writeln!(table, "m {name}{}", message.flags)?;
            for field in message.fields {
                writeln!(table, "{field}")?;
            }
        }
    }
    std::fs::write(&options.output, table).with_context(|| format!("write {}", options.output.display()))
}

const HEADER: &str = "\
# Facts about the types of the Kubernetes API, written by `cargo xtask schema`; do not edit.
# p <package in OpenAPI> <group/version>
# m <message> [kind] [atomic]
# <field> <protobuf number, 0 where unknown> <type> [!] [*] [flag]...
#   type: [] for a list, {} for a map from strings, then a scalar, a special type, or a message (alias.Name in another package)
#   ! required; * explicit zeros count; via=N inside the embedded message number N; go=T Go type of the scalar;
#   merge[=KEY], retain, replace: patch strategy; list=map:KEYS|set|atomic; atomic: struct or map owned as a whole; default=JSON
";

/// Lets cargo fetch the crate that carries the `.proto` files, and says where it lies.
fn fetch() -> Result<PathBuf> {
    let project = std::env::temp_dir().join("windlass-schema-fetch");
    std::fs::create_dir_all(project.join("src"))?;
    std::fs::write(project.join("src/lib.rs"), "")?;
    std::fs::write(
        project.join("Cargo.toml"),
        "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\n[dependencies]\nk8s-rs-pb = \"=0.5.0\"\n[workspace]\n",
    )?;
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--manifest-path"])
        .arg(project.join("Cargo.toml"))
        .output()
        .context("run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let manifest = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"] == "k8s-rs-pb")
        .and_then(|package| package["manifest_path"].as_str())
        .context("cargo metadata does not list k8s-rs-pb")?;
    std::fs::remove_dir_all(&project)?;
    Ok(Path::new(manifest).with_file_name("src").join("v1_35"))
}

fn read_go(text: &str) -> Result<BTreeMap<(String, String), GoMessage>> {
    let mut messages: BTreeMap<(String, String), GoMessage> = BTreeMap::new();
    let mut current = None;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if line.starts_with(' ') {
            let message: &mut GoMessage =
                current.as_ref().and_then(|key| messages.get_mut(key)).context("a field before any message")?;
            let [name, rest @ ..] = words.as_slice() else { bail!("empty field line") };
            message.fields.insert((*name).to_owned(), read_go_field(rest));
        } else if let [package, name, rest @ ..] = words.as_slice() {
            let key = ((*package).to_owned(), (*name).to_owned());
            let message = messages.entry(key.clone()).or_default();
            message.kind |= rest.contains(&"kind");
            current = Some(key);
        }
    }
    Ok(messages)
}

fn read_go_field(words: &[&str]) -> GoField {
    let mut field = GoField::default();
    for word in words {
        if let Some(json) = word.strip_prefix("json=") {
            field.json = Some(json.to_owned());
        } else if *word == "inline" {
            field.inline = true;
        } else if *word == "?" {
            field.omitted_when_empty = true;
        } else {
            field.pointer = word.starts_with('*');
            field.type_name = word.trim_start_matches('*').to_owned();
        }
    }
    field
}

/// The `+markers` of one comment.
#[derive(Debug, Default)]
struct Markers {
    optional: bool,
    atomic: bool,
    list: Option<String>,
    keys: Vec<String>,
    merge_key: Option<String>,
    strategies: Vec<String>,
    default: Option<String>,
}

impl Markers {
    fn read(comment: &str) -> Self {
        let mut markers = Self::default();
        for line in comment.lines().filter_map(|line| line.trim().strip_prefix('+')) {
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            match name {
                "optional" => markers.optional = true,
                "structType" | "mapType" => markers.atomic |= value == "atomic",
                "listType" => markers.list = Some(value.to_owned()),
                "listMapKey" => markers.keys.push(value.to_owned()),
                "patchMergeKey" => markers.merge_key = Some(value.to_owned()),
                "patchStrategy" => markers.strategies = value.split(',').map(str::to_owned).collect(),
                "default" if !value.starts_with("ref(") => markers.default = Some(value.to_owned()),
                _ => {}
            }
        }
        markers
    }
}

/// Markers of the comments of one file, by the path of what they stand before.
fn comments(file: &FileDescriptorProto) -> HashMap<&[i32], Markers> {
    let locations = file.source_code_info.iter().flat_map(|info| &info.location);
    locations.map(|location| (location.path.as_slice(), Markers::read(location.leading_comments()))).collect()
}

/// The lines of one message.
#[derive(Debug, Default)]
struct Lines {
    /// What follows the name.
    flags: String,
    fields: Vec<String>,
}

fn read_package(
    directory: &str,
    file: &FileDescriptorProto,
    go: &BTreeMap<(String, String), GoMessage>,
) -> Result<BTreeMap<String, Lines>> {
    let comments = comments(file);
    let none = Markers::default();
    let unknown = GoMessage::default();
    let package = format!(".{}", file.package());
    let markers = |path: &[i32]| comments.get(path).unwrap_or(&none);
    let go_message = |name: &str| go.get(&(directory.to_owned(), name.to_owned())).unwrap_or(&unknown);
    let all: HashMap<&str, (i32, &DescriptorProto)> =
        file.message_type.iter().zip(0..).map(|(message, index)| (message.name(), (index, message))).collect();
    let mut messages = BTreeMap::new();
    for (message, index) in file.message_type.iter().zip(0..) {
        let name = message.name();
        if SPECIAL.iter().any(|special| special.0 == format!("{package}.{name}")) || matches!(name, "Duration" | "Timestamp") {
            continue;
        }
        let facts = go_message(name);
        let kind = if facts.kind { " kind" } else { "" };
        let atomic = if markers(&[4, index]).atomic { " atomic" } else { "" };
        let mut fields = Vec::new();
        for (field, position) in message.field.iter().zip(0..) {
            let of_go = facts.fields.get(field.name()).cloned().unwrap_or_default();
            if !of_go.inline {
                fields.extend(field_line(&package, message, field, &of_go, markers(&[4, index, 2, position]), None)?);
                continue;
            }
            let embedded_name = field.type_name().rsplit('.').next().unwrap_or_default();
            let (embedded_index, embedded) = all.get(embedded_name).context("an embedded message is of the same package")?;
            for (inner, inner_position) in embedded.field.iter().zip(0..) {
                let of_go = go_message(embedded_name).fields.get(inner.name()).cloned().unwrap_or_default();
                let markers = markers(&[4, *embedded_index, 2, inner_position]);
                fields.extend(field_line(&package, embedded, inner, &of_go, markers, Some(field.number()))?);
            }
        }
        messages.insert(name.to_owned(), Lines { flags: format!("{kind}{atomic}"), fields });
    }
    Ok(messages)
}

/// Lays `schema/later.txt` over one package.
fn add_later(messages: &mut BTreeMap<String, Lines>, directory: &str, text: &str) -> Result<()> {
    let mut current: Option<&mut Lines> = None;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix("  ") {
            None => {
                let (package, name) = line.split_once(' ').with_context(|| format!("no message in {line:?}"))?;
                current = (package == directory).then(|| messages.entry(name.to_owned()).or_default());
            }
            Some(field) => {
                let Some(message) = &mut current else { continue };
                match field.strip_prefix("- ") {
                    Some(gone) => message.fields.retain(|line| line.split(' ').next() != Some(gone)),
                    None => message.fields.push(field.to_owned()),
                }
            }
        }
    }
    Ok(())
}

/// `None` for a field that JSON does not have.
fn field_line(
    package: &str,
    message: &DescriptorProto,
    field: &FieldDescriptorProto,
    go: &GoField,
    markers: &Markers,
    via: Option<i32>,
) -> Result<Option<String>> {
    let name = go.json.as_deref().unwrap_or(field.name());
    if name == "-" {
        return Ok(None);
    }
    let mut line = format!("{name} {} {}", field.number(), field_type(package, message, field)?);
    if !markers.optional && !go.omitted_when_empty {
        line.push_str(" !");
    }
    if go.pointer {
        line.push_str(" *");
    }
    if let Some(number) = via {
        write!(line, " via={number}")?;
    }
    if !go.type_name.is_empty() {
        write!(line, " go={}", go.type_name)?;
    }
    for strategy in &markers.strategies {
        match (strategy.as_str(), &markers.merge_key) {
            ("merge", Some(key)) => write!(line, " merge={key}")?,
            ("retainKeys", _) => line.push_str(" retain"),
            (other, _) => write!(line, " {other}")?,
        }
    }
    match markers.list.as_deref() {
        Some("map") => write!(line, " list=map:{}", markers.keys.join(","))?,
        Some(kind) => write!(line, " list={kind}")?,
        None => {}
    }
    if markers.atomic {
        line.push_str(" atomic");
    }
    if let Some(default) = &markers.default {
        write!(line, " default={default}")?;
    }
    Ok(Some(line))
}

fn field_type(package: &str, message: &DescriptorProto, field: &FieldDescriptorProto) -> Result<String> {
    let nested = message.nested_type.iter().find(|nested| {
        nested.options.as_ref().is_some_and(|options| options.map_entry())
            && field.type_name() == format!("{package}.{}.{}", message.name(), nested.name())
    });
    if let Some(entry) = nested {
        let value = entry.field.iter().find(|field| field.number() == 2).context("a map entry has a value")?;
        return Ok(format!("{{}}{}", element_type(package, value)?));
    }
    let list = if field.label() == Label::Repeated { "[]" } else { "" };
    Ok(format!("{list}{}", element_type(package, field)?))
}

fn element_type(package: &str, field: &FieldDescriptorProto) -> Result<String> {
    let scalar = match field.r#type() {
        Type::Bool => "bool",
        Type::Int32 => "int32",
        Type::Int64 => "int64",
        Type::String => "string",
        Type::Bytes => "bytes",
        Type::Message => return message_type(package, field.type_name()),
        other => bail!("{} has a type that the table cannot say: {other:?}", field.name()),
    };
    Ok(scalar.to_owned())
}

fn message_type(package: &str, type_name: &str) -> Result<String> {
    if let Some((_, special)) = SPECIAL.iter().find(|(name, _)| *name == type_name) {
        return Ok((*special).to_owned());
    }
    let (owner, name) = type_name.rsplit_once('.').context("a qualified type name")?;
    if owner == package {
        return Ok(name.to_owned());
    }
    let directory = owner.trim_start_matches('.').replace('.', "/");
    let (.., alias) =
        PACKAGES.iter().find(|known| known.0 == directory).with_context(|| format!("{type_name} is not in the table"))?;
    Ok(format!("{alias}.{name}"))
}
