import pickle

import pyarrow as pa

from pipeline.sources.webnoise import WebNoise


def test_tables_do_not_depend_on_the_size_of_the_pool():
    small = pa.concat_tables(WebNoise(num_samples=20).tables())
    assert pa.concat_tables(WebNoise(num_samples=1100).tables()).slice(0, 20).equals(small)
    assert set(small.column_names) == {"url", "text"}


def test_every_seed_has_its_own_urls_and_fingerprint():
    one, two = WebNoise(num_samples=5), WebNoise(num_samples=5, seed=1)
    urls = [set(pa.concat_tables(source.tables())["url"].to_pylist()) for source in (one, two)]
    assert not urls[0] & urls[1]
    assert one.fingerprint() != two.fingerprint()
    assert pickle.loads(pickle.dumps(one)).fingerprint() == one.fingerprint()
