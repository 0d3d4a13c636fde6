# Django: the tests of its database layer, with mysqlclient. Each database is made as a second one, whose
# sessions look at the first one's data.
fetch() {
    python_with Django mysqlclient setuptools
    unpack_sdist Django
    cat >login.py <<'PYTHON'
import os
SECRET_KEY = "none"
USE_TZ = False
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DATABASES = {
    alias: {
        "ENGINE": "django.db.backends.mysql", "NAME": name, "HOST": os.environ["HOST"],
        "PORT": os.environ["PORT"], "USER": os.environ["USER"], "PASSWORD": os.environ["PASSWORD"],
    }
    for alias, name in [("default", "django_one"), ("other", "django_two")]
}
PYTHON
}

run_suite() {
    PYTHONPATH=. "$PYTHON" source/tests/runtests.py --settings login --parallel 1 --noinput -v 2 \
        backends basic transactions transaction_hooks introspection schema inspectdb queries \
        select_for_update get_or_create bulk_create update delete lookup aggregation expressions \
        datatypes model_fields raw_query save_delete_hooks transactions migrations 2>&1
}

results() { unittest_results; }
