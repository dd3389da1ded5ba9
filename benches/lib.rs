//! The fixed reference worlds (DESIGN §11) that every performance figure is measured on.
