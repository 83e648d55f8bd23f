# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/{{repository}}/blob/{{branch}}/notebooks/exercises/{{notebook}}.ipynb)
# [![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)](https://kaggle.com/kernels/welcome?src=https://github.com/{{repository}}/blob/{{branch}}/notebooks/exercises/{{notebook}}.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/{{repository}}/{{branch}}?labpath=notebooks%2Fexercises%2F{{notebook}}.ipynb)
#
# The badges open a copy to work in. Outputs and solutions:
# [the notebook in full](https://github.com/{{repository}}/blob/{{branch}}/notebooks/{{notebook}}.ipynb). Words that
# are linked: [glossary](https://github.com/{{repository}}/blob/{{branch}}/docs/glossary.md).
