"""Problems and tests as people write them: `fields` reads a problem, `forms` one of its tests.

What can be read in one way only is read; what could mean two things is refused with what to write.
`docs/problems.md` lists the forms.
"""
