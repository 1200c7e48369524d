//! The control plane: the ACR API 2018-12-01 from one operation table.
