"""What people say of rows: the sample that they look at, their files, and what these say of the build."""
