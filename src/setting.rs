//! A setting is declared once, with its name, range, default and help. The command line, the page and
//! every check read this declaration.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
pub struct Setting {
    /// Name in configs, addresses and, with hyphens, on the command line.
    pub name: &'static str,
    /// Display name.
    pub title: &'static str,
    /// What it does, in one or two sentences.
    pub help: &'static str,
    /// The values it takes.
    #[serde(flatten)]
    pub kind: Kind,
}

/// The values that a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[cfg_attr(feature = "native", derive(ts_rs::TS))]
#[cfg_attr(feature = "native", ts(rename = "SettingKind"))]
pub enum Kind {
    /// A number.
    Number {
        /// The smallest value; if `open`, values must be larger.
        min: f64,
        /// The largest value.
        max: f64,
        /// Whether `min` itself is excluded.
        open: bool,
        /// The default; none if the sampler, the target or the model chooses.
        default: Option<f64>,
    },
    /// A whole number.
    Count {
        /// The smallest value.
        min: u64,
        /// The largest value.
        max: u64,
        /// The default.
        default: u64,
    },
    /// On or off; off by default.
    Flag,
}

impl Kind {
    /// A number above 0 and up to `max`.
    pub const fn positive(max: f64, default: Option<f64>) -> Self {
        Self::Number {
            min: 0.0,
            max,
            open: true,
            default,
        }
    }

    /// A number from `min` to `max`.
    pub const fn number(min: f64, max: f64, default: Option<f64>) -> Self {
        Self::Number {
            min,
            max,
            open: false,
            default,
        }
    }

    /// A whole number from `min` to `max`.
    pub const fn count(min: u64, max: u64, default: u64) -> Self {
        Self::Count { min, max, default }
    }
}

/// A value of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Value of a [`Kind::Flag`].
    Flag(bool),
    /// Value of a [`Kind::Count`].
    Count(u64),
    /// Value of a [`Kind::Number`].
    Number(f64),
}

impl From<bool> for Value {
    fn from(v: bool) -> Self {
        Self::Flag(v)
    }
}

impl From<usize> for Value {
    fn from(v: usize) -> Self {
        Self::Count(v as u64)
    }
}

impl From<u64> for Value {
    fn from(v: u64) -> Self {
        Self::Count(v)
    }
}

impl From<i32> for Value {
    fn from(v: i32) -> Self {
        u64::try_from(v).map_or(Self::Number(f64::from(v)), Self::Count)
    }
}

impl From<f64> for Value {
    fn from(v: f64) -> Self {
        Self::Number(v)
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag(v) => v.fmt(f),
            Self::Count(v) => v.fmt(f),
            Self::Number(v) => v.fmt(f),
        }
    }
}

impl Setting {
    /// Seed of starts and noise, below 2⁵³ so that JavaScript can hold it.
    pub const fn seed(default: u64) -> Self {
        Self {
            name: "seed",
            title: "seed",
            help: "Seed of starts and noise, below 2⁵³ so that JavaScript can hold it.",
            kind: Kind::count(0, (1 << 53) - 1, default),
        }
    }

    /// Checks a value against this setting's range. For a [`Kind::Number`] returns a [`Value::Number`].
    ///
    /// # Errors
    /// [`Error::Invalid`] with the range.
    pub fn check(&self, value: impl Into<Value>) -> Result<Value> {
        let value = value.into();
        let found = match (self.kind, value) {
            (Kind::Flag, Value::Flag(_)) => return Ok(value),
            (Kind::Number { min, max, open, .. }, Value::Number(_) | Value::Count(_)) => {
                let number = match value {
                    Value::Count(v) => v as f64,
                    Value::Number(v) => v,
                    Value::Flag(_) => f64::NAN,
                };
                if number <= max && (number > min || number == min && !open) {
                    return Ok(Value::Number(number));
                }
                value
            }
            (Kind::Count { min, max, .. }, Value::Count(v)) if (min..=max).contains(&v) => {
                return Ok(value);
            }
            (_, value) => value,
        };
        Err(Error::invalid(
            self.title,
            self.range(),
            found,
            "give a value in that range",
        ))
    }

    /// The accepted values, in words.
    fn range(&self) -> String {
        match self.kind {
            Kind::Number {
                min,
                max,
                open: true,
                ..
            } => format!("a number in ({min}, {max}]"),
            Kind::Number { min, max, .. } => format!("a number in [{min}, {max}]"),
            Kind::Count { min, max, .. } => format!("{min} to {max}"),
            Kind::Flag => "true or false".into(),
        }
    }

    /// Checks an optional value; `None` passes.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn check_some(&self, value: Option<impl Into<Value>>) -> Result<()> {
        value.map_or(Ok(()), |v| self.check(v).map(|_| ()))
    }

    /// The default of a [`Kind::Count`]; 0 for any other.
    pub const fn default_count(&self) -> usize {
        match self.kind {
            Kind::Count { default, .. } => default as usize,
            _ => 0,
        }
    }

    /// The default of a [`Kind::Number`]; NaN for any other, and without a default.
    pub const fn default_number(&self) -> f64 {
        match self.kind {
            Kind::Number {
                default: Some(v), ..
            } => v,
            _ => f64::NAN,
        }
    }

    /// The default, if any.
    pub fn default(&self) -> Option<Value> {
        match self.kind {
            Kind::Number { default, .. } => default.map(Value::Number),
            Kind::Count { default, .. } => Some(Value::Count(default)),
            Kind::Flag => Some(Value::Flag(false)),
        }
    }
}
