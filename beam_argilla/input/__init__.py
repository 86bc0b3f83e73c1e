"""What people have → canonical tables: one file per kind of source, layouts as declarations."""
