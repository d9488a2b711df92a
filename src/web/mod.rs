//! The page's interface to the crate: one class per room, called by an engine in a Web Worker.
//!
//! `www/contract/` declares the same types in TypeScript. Everything that reads from the device is
//! asynchronous, and no borrow is held across an await.

mod js;
mod playground;
mod prior;
mod race;
mod slot;
mod studio;

pub use playground::Playground;
pub use prior::Prior;
pub use race::{Session, boot, start};
pub use studio::Studio;
