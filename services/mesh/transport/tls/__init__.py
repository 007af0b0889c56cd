"""Who the processes of a stack are to each other: certificates, and the credentials made of them."""
