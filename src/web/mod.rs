//! The page's view of the crate: one class a room, driven by an engine in a Web Worker.
//!
//! `www/contract/` has the same shapes in TypeScript. Everything that reads from the device is
//! asynchronous, and no borrow is held across an await.

mod js;
mod playground;
mod prior;
mod race;
mod slot;
mod studio;

pub use playground::Playground;
pub use prior::Prior;
pub use race::{Session, start};
pub use studio::Studio;
