//! The rooms of the page as plain structs, independent of the page: `web` exports them unchanged, and
//! the command line uses the same ones.

pub mod arrays;
pub mod playground;
pub mod prior;
pub mod race;
pub mod studio;
