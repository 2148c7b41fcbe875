"""Views in which a face's label is the one that counts: what a person gave, else the estimate.

Revision 0014. Views are made anew after every migration, so that there is nothing else to do.
"""

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
