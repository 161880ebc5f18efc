"""Small files of exactly the formats of public logs; every value is made by a formula, none is copied."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from sessionrec.logs.amazon import FIRST_MS, AmazonConfig
from sessionrec.logs.completejourney import CompleteJourneyConfig
from sessionrec.logs.ebnerd import EbnerdConfig
from sessionrec.logs.globo import GloboConfig
from sessionrec.logs.kuairand import KuairandConfig
from sessionrec.logs.movielens import MovielensConfig
from tests.raw_fixtures.base import RawLog

# 2022-04-25 00:00:00 UTC
START_S = 1_650_844_800


def write_amazon(folder: Path) -> RawLog:
    """Three users with four lines each."""
    lines = [f"{1 + n // 4} {1 + n * 5 % 7}" for n in range(12)]
    file = folder / "Things.txt"
    file.write_text("\n".join(lines) + "\n")
    config = AmazonConfig(path=file)
    return RawLog(config=config, first=(1, 1, FIRST_MS, 1), num_events=12, main=file, column=None)


def write_globo(folder: Path) -> RawLog:
    """Two hourly files; the one between them is empty, as in the source."""
    n = range(12)
    clicks = pl.DataFrame(
        {
            "user_id": [i // 4 for i in n],
            "session_id": [10**15 + i // 2 for i in n],
            "session_start": [START_S * 1000 + (i // 2) * 10_000 for i in n],
            "session_size": [2 for _ in n],
            "click_article_id": [50 + i * 5 % 7 for i in n],
            "click_timestamp": [START_S * 1000 + i * 5_000 for i in n],
            "click_environment": [4 for _ in n],
            "click_deviceGroup": [1 + i % 3 for i in n],
            "click_os": [17 for _ in n],
            "click_country": [1 for _ in n],
            "click_region": [20 + i % 2 for i in n],
            "click_referrer_type": [2 for _ in n],
        }
    )
    clicks[:6].write_csv(folder / "clicks_hour_000.csv")
    (folder / "clicks_hour_001.csv").write_bytes(b"")
    clicks[6:].write_csv(folder / "clicks_hour_002.csv")
    first = (0, 50, START_S * 1000, 1)
    main = folder / "clicks_hour_000.csv"
    config = GloboConfig(path=folder)
    return RawLog(config=config, first=first, num_events=12, main=main, column="click_deviceGroup")


def kuairand_rows(num_rows: int = 12) -> pl.DataFrame:
    """The 19 columns of an official log."""
    n = range(num_rows)
    zeros = ["is_follow", "is_comment", "is_forward", "profile_stay_time", "comment_stay_time", "is_profile_enter"]
    return pl.DataFrame(
        {
            "user_id": [i % 3 for i in n],
            "video_id": [i * 5 % 7 for i in n],
            "date": [20220425 for _ in n],
            "hourmin": [800 for _ in n],
            "time_ms": [START_S * 1000 + i * 60_000 for i in n],
            "is_click": [int(i % 2 == 0) for i in n],
            "is_like": [int(i == 4) for i in n],
            "is_hate": [int(i == 3) for i in n],
            "long_view": [int(i % 4 == 0) for i in n],
            "play_time_ms": [1_000 * i for i in n],
            "duration_ms": [10_000 for _ in n],
            "is_rand": [0 for _ in n],
            "tab": [i % 2 for i in n],
            **{name: [0 for _ in n] for name in zeros},
        }
    )


def write_kuairand(folder: Path) -> RawLog:
    """An official log, a random one that must be left out, the videos and the lists of watched videos."""
    main = folder / "log_standard_4_22_to_5_08_pure.csv"
    kuairand_rows().write_csv(main)
    kuairand_rows(3).with_columns(is_rand=1).write_csv(folder / "log_random_4_22_to_5_08_pure.csv")
    pl.DataFrame(
        {
            "video_id": range(7),
            "author_id": [900 + i // 2 for i in range(7)],
            "video_type": ["NORMAL"] * 6 + ["AD"],
            "upload_dt": ["2022-04-10"] * 7,
            "upload_type": ["LongImport"] * 7,
            "visible_status": [0] * 7,
            "video_duration": [1_000.0 * i if i else None for i in range(7)],
            "server_width": [720] * 7,
            "server_height": [1280] * 7,
            "music_id": range(7),
            "music_type": [9] * 7,
            "tag": ["3", "12,65", None, "3", "7", "7", "7"],
        }
    ).write_csv(folder / "video_features_basic_pure.csv")
    pl.DataFrame(
        {
            "user_id": [0, 2],
            "history_len": [5, 60],
            "last_time_ms": [START_S * 1000 - 1_000, START_S * 1000 - 2_000],
            "watch_seq": [[6, 5, 4, 3, 2], [1]],
            "like_seq": [[], [1]],
            "long_watch_seq": [[4], []],
        },
        schema_overrides={"like_seq": pl.List(pl.Int64), "long_watch_seq": pl.List(pl.Int64)},
    ).write_parquet(folder / "user_sequences.parquet")
    first = (0, 0, START_S * 1000, 0b11)
    return RawLog(config=KuairandConfig(path=folder), first=first, num_events=12, main=main, column="tab")


def ebnerd_behaviors(num_rows: int, seed: int) -> pl.DataFrame:
    """Impressions with the columns and types of `behaviors.parquet`: three articles in view, the second one clicked."""
    n = range(num_rows)
    start = datetime(2023, 5, 18, 7)
    return pl.DataFrame(
        {
            "impression_id": [seed * 100 + i for i in n],
            "article_id": [None for _ in n],
            "impression_time": [start + timedelta(days=7 * seed, minutes=i) for i in n],
            "read_time": [10.0 + i for i in n],
            "scroll_percentage": [None for _ in n],
            "device_type": [1 + i % 3 for i in n],
            "article_ids_inview": [[9_000_000 + i, 9_000_001 + i, 9_000_002 + i] for i in n],
            "article_ids_clicked": [[9_000_001 + i] for i in n],
            "user_id": [10 + i // 2 for i in n],
            "is_sso_user": [False for _ in n],
            "gender": [None for _ in n],
            "postcode": [None for _ in n],
            "age": [None for _ in n],
            "is_subscriber": [False for _ in n],
            "session_id": [1 + i // 2 for i in n],
            "next_read_time": [5.0 * i for i in n],
            "next_scroll_percentage": [None for _ in n],
        },
        schema={
            "impression_id": pl.UInt32,
            "article_id": pl.Int32,
            "impression_time": pl.Datetime("us"),
            "read_time": pl.Float32,
            "scroll_percentage": pl.Float32,
            "device_type": pl.Int8,
            "article_ids_inview": pl.List(pl.Int32),
            "article_ids_clicked": pl.List(pl.Int32),
            "user_id": pl.UInt32,
            "is_sso_user": pl.Boolean,
            "gender": pl.Int8,
            "postcode": pl.Int8,
            "age": pl.Int8,
            "is_subscriber": pl.Boolean,
            "session_id": pl.UInt32,
            "next_read_time": pl.Float32,
            "next_scroll_percentage": pl.Float32,
        },
    )


def write_ebnerd(folder: Path) -> RawLog:
    """Two weeks whose session ids repeat, and articles."""
    for seed, split in enumerate(("train", "validation")):
        (folder / split).mkdir(exist_ok=True)
        ebnerd_behaviors(4, seed).write_parquet(folder / split / "behaviors.parquet")
    pl.DataFrame(
        {
            "article_id": [9_000_000, 9_000_001],
            "title": ["Vejret i dag", "Bl\u00e5b\u00e6rgr\u00f8d"],
            "category": [118, 142],
            "premium": [False, True],
        },
        schema_overrides={"article_id": pl.Int32, "category": pl.Int16},
    ).write_parquet(folder / "articles.parquet")
    first = (10, 9_000_000, 1_684_393_200_000, 0)
    main = folder / "train" / "behaviors.parquet"
    config = EbnerdConfig(path=folder)
    return RawLog(config=config, first=first, num_events=2 * 4 * 3, main=main, column="article_ids_clicked")


def write_movielens(folder: Path) -> RawLog:
    """The layout of 20M and later; the other layouts are in the reader's own tests."""
    n = range(12)
    ratings = pl.DataFrame(
        {
            "userId": [1 + i // 4 for i in n],
            "movieId": [1 + i * 5 % 7 for i in n],
            "rating": [4.0 - 0.5 * (i % 3) for i in n],
            "timestamp": [START_S + i for i in n],
        }
    )
    ratings.write_csv(folder / "ratings.csv")
    titles = [f"Film {i}, the ({1990 + i})" for i in range(1, 8)]
    films = pl.DataFrame({"movieId": range(1, 8), "title": titles, "genres": ["Drama|War"] * 7})
    films.write_csv(folder / "movies.csv")
    first = (1, 1, START_S * 1000, 1)
    main = folder / "ratings.csv"
    return RawLog(config=MovielensConfig(path=folder), first=first, num_events=12, main=main, column="rating")


def write_completejourney(folder: Path, num_baskets: int = 6, num_products: int = 10) -> RawLog:
    """Baskets of two products each; every product is on display in the one store, every week."""
    start = datetime(2017, 1, 1, 12)
    rows = range(2 * num_baskets)
    pl.DataFrame(
        {
            "household_id": [1 + (i // 2) % 3 for i in rows],
            "store_id": [330 for _ in rows],
            "basket_id": [31_000_000_000 + i // 2 for i in rows],
            "product_id": [1_000 + (i * 3) % num_products for i in rows],
            "quantity": [1 for _ in rows],
            "sales_value": [0.5 * (i % 4) for i in rows],
            "week": [1 + i // 4 for i in rows],
            "transaction_timestamp": [start + timedelta(hours=i // 2) for i in rows],
        },
        schema_overrides={"transaction_timestamp": pl.Datetime("ns")},
    ).write_parquet(folder / "transactions.parquet")
    weeks = range(1, 2 + num_baskets // 2)
    shown = [(1_000 + p, 330, "1" if p % 5 else "9", "0", week) for week in weeks for p in range(num_products)]
    names = ["product_id", "store_id", "display_location", "mailer_location", "week"]
    pl.DataFrame(shown, schema=names, orient="row").write_parquet(folder / "promotions.parquet")
    n = range(num_products)
    pl.DataFrame(
        {
            "product_id": [1_000 + i for i in n],
            "manufacturer_id": [2 + i % 3 for i in n],
            "department": ["GROCERY" for _ in n],
            "brand": ["National" for _ in n],
            "product_category": ["APPLES" if i else None for i in n],
            "product_type": ["APPLE SAUCE" if i else None for i in n],
            "package_size": ["50 OZ" if i % 2 else None for i in n],
        }
    ).write_parquet(folder / "products.parquet")
    config = CompleteJourneyConfig(path=folder, exposures_per_basket=3, min_purchases=1)
    first = (1, 1_000, 1_483_272_000_000, 1)
    main = folder / "transactions.parquet"
    return RawLog(config=config, first=first, num_events=num_baskets * (2 + 3), main=main, column="store_id")
