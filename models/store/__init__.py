"""What visitors made, kept in a database and a folder of files beside it.

`opening.open_store()` is the store that the settings say, `Store.shelf(secret)` what one visitor has there, and
`things` what that is made of. Only `things` and `opening` can be imported without SQLAlchemy.
"""
