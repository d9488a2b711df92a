//! Command-line options for sampler settings, generated from the settings that the samplers declare.

use clap::{Arg, ArgAction, ArgMatches, Command, builder::PossibleValuesParser, value_parser};

use crate::{
    sampler::{
        REGISTRY, SamplerConfig, own_settings,
        settings::{ADAPT_MASS, GROUPS, NO_ADAPT, STEP_SIZE, TARGET_ACCEPT, TEMPERATURE, WARMUP},
    },
    setting::{Kind, Setting, Value},
};

/// `--sampler NAME` and one option per setting.
#[derive(Debug, Clone)]
pub struct SamplerArgs(pub SamplerConfig);

/// The settings in the order in which `--help` lists them.
fn settings() -> Vec<&'static Setting> {
    let first = [&STEP_SIZE, &TEMPERATURE];
    let last = [&ADAPT_MASS, &WARMUP, &NO_ADAPT, &TARGET_ACCEPT, &GROUPS];
    first
        .into_iter()
        .chain(own_settings())
        .chain(last)
        .collect()
}

fn option(setting: &'static Setting) -> Arg {
    let arg = Arg::new(setting.name)
        .long(setting.name.replace('_', "-"))
        .help(setting.help);
    let arg = match setting.kind {
        Kind::Flag => return arg.action(ArgAction::SetTrue),
        Kind::Number { .. } => arg
            .value_parser(value_parser!(f64))
            .value_name(setting.name.to_uppercase()),
        Kind::Count { .. } => arg
            .value_parser(value_parser!(u64))
            .value_name(setting.name.to_uppercase()),
    };
    match setting.default() {
        Some(value) => arg.default_value(value.to_string()),
        None => arg,
    }
}

/// The given value, or the default.
fn value(matches: &ArgMatches, setting: &Setting) -> Option<Value> {
    match setting.kind {
        Kind::Flag => Some(Value::Flag(matches.get_flag(setting.name))),
        Kind::Number { .. } => matches.get_one(setting.name).copied().map(Value::Number),
        Kind::Count { .. } => matches.get_one(setting.name).copied().map(Value::Count),
    }
}

impl clap::Args for SamplerArgs {
    fn augment_args(command: Command) -> Command {
        let names = PossibleValuesParser::new(REGISTRY.iter().map(|r| r.name));
        let sampler = Arg::new("sampler")
            .long("sampler")
            .help("Sampler; `mixwell samplers` describes each")
            .default_value("mala")
            .value_parser(names);
        settings()
            .into_iter()
            .fold(command.arg(sampler), |command, s| command.arg(option(s)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for SamplerArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut this = Self(SamplerConfig::default());
        this.update_from_arg_matches(matches)?;
        Ok(this)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let number = |setting: &Setting| matches.get_one::<f64>(setting.name).copied();
        let count = |setting: &Setting| matches.get_one::<u64>(setting.name).copied();
        let config = &mut self.0;
        if let Some(name) = matches.get_one::<String>("sampler") {
            config.sampler.clone_from(name);
        }
        config.step_size = number(&STEP_SIZE);
        config.temperature = number(&TEMPERATURE).unwrap_or(config.temperature);
        config.adapt_mass = matches.get_flag(ADAPT_MASS.name);
        config.warmup = count(&WARMUP).map_or(config.warmup, |v| v as usize);
        config.no_adapt = matches.get_flag(NO_ADAPT.name);
        config.target_accept = number(&TARGET_ACCEPT);
        config.groups = count(&GROUPS).map_or(config.groups, |v| v as usize);
        for setting in own_settings() {
            config.settings.set(setting.name, value(matches, setting));
        }
        Ok(())
    }
}
