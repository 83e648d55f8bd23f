"""Found in place of the course's helpers only where a notebook's set-up cell has not run, as after a restart."""

error = ImportError("Run the cells above first: Run > Run All Above Selected Cell. The set-up cell finds helpers/.")
error._render_traceback_ = lambda: [str(error)]  # in a notebook this sentence alone
raise error
