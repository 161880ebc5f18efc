"""Many runs under one protocol, and the tables and figures that come of them.

    experiments/table2/table.toml      what is asked, of which data sets, with which seeds      ExperimentConfig
    experiments/table2/04-sasrec.toml  a system                                                 RowConfig
    experiments/datasets.toml          where the data sets come from                            DataSource

`run` makes what is missing, one process a run; `report` draws what is there. A result is known by the hash of all that
decided it, so tables that ask the same share it.
"""
