"""The workbench: rooms, scenes, data sets, evaluation, report. Not needed on a device."""
