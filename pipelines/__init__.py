"""Programs that people run."""

import logging

# Beam says this on import wherever its Google Cloud extra is not installed, needed or not.
logging.getLogger().addFilter(lambda record: 'apitools not found' not in record.getMessage())
